import { type DescMethod, type DescMethodUnary } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code, type Transport } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";
import { pause } from "./pause.ts";

/** How calls are tried again. */
export interface RetryOptions {
  /** Tries after the first one. */
  readonly retries: number;
  /** Longest pause before the second try, in ms; it doubles with each further one. */
  readonly pauseMs?: number;
  /** Between 0 and 1; for tests. */
  readonly random?: () => number;
}

const pauseMsDefault = 100;
const pauseMsMax = 5000;

/** How methods begin that only read. */
const readingPattern =
  /^(?:Get|List|Search|Describe|Discover|Explain|Lookup|Meta$|Route$|Validate)/;

/**
 * Tries unary calls again that failed for a while only: those that read, those that the server refused
 * before it did anything, and those whose `request_id` makes a second time do nothing more. Pauses are
 * random up to a limit that doubles, or as long as the server asks for; a signal ends them.
 *
 * A stream is never begun again: who reads it knows what it has.
 */
export function withRetries(transport: Transport, options: RetryOptions): Transport {
  const { retries, pauseMs = pauseMsDefault, random = Math.random } = options;
  if (retries <= 0) return transport;
  return {
    stream: (...call) => transport.stream(...call),
    unary(method, signal, timeoutMs, header, request, values) {
      const endMs = timeoutMs === undefined ? undefined : performance.now() + timeoutMs;
      const attempt = () =>
        // In whole milliseconds, which is all that a deadline on the wire can say.
        transport.unary(method, signal, leftMs(endMs), header, request, values);
      return attempt().catch(async (error: unknown) => {
        let failure = error;
        for (let tried = 0; tried < retries; tried += 1) {
          if (signal?.aborted === true) throw failure;
          if (!(failure instanceof ClientError) || !mayRetry(method, request, failure))
            throw failure;
          const longest = Math.min(pauseMs * 2 ** tried, pauseMsMax);
          const waitMs = Math.max(failure.retryAfterMs ?? 0, random() * longest);
          if (endMs !== undefined && performance.now() + waitMs >= endMs) throw failure;
          await pause(waitMs, signal);
          try {
            return await attempt();
          } catch (next) {
            failure = next;
          }
        }
        throw failure;
      });
    },
  };
}

function leftMs(endMs: number | undefined): number | undefined {
  return endMs === undefined ? undefined : Math.max(1, Math.ceil(endMs - performance.now()));
}

function mayRetry(method: DescMethodUnary, request: object, error: ClientError): boolean {
  // What it waits for has been refused as a whole.
  if (error.code === Code.ResourceExhausted) return error.retryAfterMs !== undefined;
  const isBroken = error.reason === "UNRECOGNIZED" && error.code === Code.Aborted;
  if (error.code !== Code.Unavailable && !isBroken) return false;
  if (error.reason === "SHUTTING_DOWN" || error.reason === "OVERLOADED") return true;
  // The connection broke, and nobody can tell whether the call was run.
  return isIdempotent(method) || hasRequestId(request);
}

/** Whether running a method twice does no more than running it once. */
export function isIdempotent(method: DescMethod): boolean {
  const { NO_SIDE_EFFECTS, IDEMPOTENT } = MethodOptions_IdempotencyLevel;
  if (method.idempotency === NO_SIDE_EFFECTS || method.idempotency === IDEMPOTENT) return true;
  return method.parent.typeName.startsWith("collector.") && readingPattern.test(method.name);
}

function hasRequestId(request: object): boolean {
  return (
    "requestId" in request && typeof request.requestId === "string" && request.requestId !== ""
  );
}
