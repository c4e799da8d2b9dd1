import { inspect } from "node:util";
import { CollectorError, type ErrorReason } from "../../errors.ts";

/** A CollectorError on its way between threads or processes. */
export interface Failure {
  readonly reason: ErrorReason;
  readonly message: string;
  readonly subject: Readonly<Record<string, string>>;
  readonly retryAfterMs: number | undefined;
  /** What is for the log only. */
  readonly detail: string | undefined;
}

export function packFailure(error: CollectorError): Failure {
  const { reason, message, subject, retryAfterMs, cause } = error;
  return { reason, message, subject, retryAfterMs, detail: detailOf(cause) };
}

export function unpackFailure(failure: Failure): CollectorError {
  const { reason, message, subject, retryAfterMs, detail } = failure;
  return new CollectorError(reason, message, {
    subject,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    ...(detail === undefined ? {} : { cause: new Error(detail) }),
  });
}

function detailOf(cause: unknown): string | undefined {
  if (cause === undefined) return undefined;
  if (!(cause instanceof Error)) return inspect(cause);
  return "errcode" in cause ? `${cause.message} (SQLite ${String(cause.errcode)})` : cause.message;
}
