import { Code } from "@connectrpc/connect";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from "../../gen/google/rpc/error_details_pb.ts";
import { CallFailure } from "../../mesh/channel.ts";
import { codeByReason, errorDomain, toConnectError } from "../status.ts";

/**
 * A failed call to another collector as a failure of this one: with its reason, its fields and when to
 * try again, and saying whose it is. What has no reason that is known here stays as it came.
 *
 * @param service what the other one does not serve if it is too old
 */
export function fromRemote(error: unknown, endpoint: string, service: string): unknown {
  if (!(error instanceof CallFailure)) return error;
  const { message, reason, trailers, mayHaveRun } = error;
  const code: Code = error.code;
  const own = { subject: { endpoint }, cause: error };
  if (reason !== undefined) return new CollectorError(reason, message, own);
  if (code === Code.Unimplemented) {
    const text = `${endpoint} does not serve ${service}: it runs an older version, or does not offer it`;
    return new CollectorError("METHOD_UNIMPLEMENTED", text, own);
  }
  const text = `${endpoint}: ${message}`;
  const status = toConnectError(error);
  const [info] = status.findDetails(ErrorInfoSchema);
  if (info === undefined || info.domain !== errorDomain || !isReason(info.reason)) {
    // Whoever answers in the place of a server that is down knows no reasons.
    return code === Code.Unavailable
      ? new CollectorError("PEER_UNAVAILABLE", text, own)
      : new CallFailure(text, { code, trailers, mayHaveRun, cause: error });
  }
  const [badRequest] = status.findDetails(BadRequestSchema);
  const [retry] = status.findDetails(RetryInfoSchema);
  const delay = retry?.retryDelay;
  const violations = badRequest?.fieldViolations ?? [];
  return new CollectorError(info.reason, text, {
    cause: error,
    subject: { ...info.metadata, endpoint },
    violations: violations.map(({ field, description }) => ({ field, description })),
    ...(delay === undefined
      ? {}
      : { retryAfterMs: Number(delay.seconds) * 1000 + delay.nanos / 1e6 }),
  });
}

function isReason(text: string): text is ErrorReason {
  return Object.hasOwn(codeByReason, text);
}
