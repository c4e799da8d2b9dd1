import { Code } from "@connectrpc/connect";
import type { WatchResponse } from "../gen/collector/record_streams_pb.ts";
import { ClientError, isUnreached } from "./client-error.ts";
import { pause } from "./pause.ts";
import type { Services } from "./services.ts";
import { untilLeft } from "./until-left.ts";

export interface WatchOptions<C = never> {
  /** Only records for which this holds: conditions by field, or text in the filter language of AIP-160. */
  readonly where?: C | string;
  /** Goes on after the change that had it, or after an export. Without it: from now on. */
  readonly resumeToken?: string;
  /** Leaves out the records themselves. */
  readonly idsOnly?: boolean;
  /** Ends the watch. */
  readonly signal?: AbortSignal;
  /** How long to try to get back to a server that went away, in ms. */
  readonly giveUpAfterMs?: number;
  /** Called when the watch is in force: nothing after it is missed. Again after each reconnection. */
  readonly onBegin?: (resumeToken: string) => void;
}

/** How long a lost connection is tried to be had back. */
const giveUpAfterMsDefault = 5 * 60_000;

const firstDelayMs = 100;
const longestDelayMs = 10_000;

/** What transports report of a connection that broke, beside what the server says. */
const brokenCodes: ReadonlySet<Code> = new Set([
  Code.Aborted,
  Code.Internal,
  Code.Unavailable,
  Code.Unknown,
]);

/**
 * Watches a collection. A connection that is lost is opened again, and the watch goes on where it was
 * cut off; it ends when the signal fires, or when whoever reads it stops.
 *
 * @throws {ClientError} HISTORY_GONE, COLLECTION_NOT_FOUND, what the first call fails with, and what
 * the last one did when no server was there for too long
 */
export async function* watchCollection(
  streams: Services["streams"],
  target: { readonly namespace: string; readonly collectionName: string },
  options: WatchOptions,
): AsyncGenerator<WatchResponse> {
  const { where = "", idsOnly = false, signal, giveUpAfterMs = giveUpAfterMsDefault } = options;
  let { resumeToken = "" } = options;
  /** Whether the watch was ever in force, and whether this attempt has had an answer. */
  let hasBegun = false;
  let isAnswered = false;
  let delayMs = firstDelayMs;
  let lastSeenMs = performance.now();
  while (!hasFired(signal)) {
    try {
      const request = { ...target, where, idsOnly, resumeToken };
      isAnswered = false;
      const call = (untilThen: AbortSignal) =>
        // A watch has no deadline.
        streams.watch(request, { timeoutMs: 0, signal: untilThen });
      for await (const response of untilLeft(call, signal)) {
        resumeToken = response.resumeToken;
        hasBegun = true;
        delayMs = firstDelayMs;
        lastSeenMs = performance.now();
        if (!isAnswered) options.onBegin?.(resumeToken);
        isAnswered = true;
        if (response.changes.length > 0) yield response;
      }
    } catch (error) {
      if (hasFired(signal)) return;
      const isOver = performance.now() - lastSeenMs > giveUpAfterMs;
      if (!hasBegun || isOver || !isPassing(error, isAnswered)) throw error;
    }
    await pauseQuietly(delayMs * (0.5 + Math.random()), signal);
    delayMs = Math.min(delayMs * 2, longestDelayMs);
  }
}

/** @param isAnswered a call that had an answer and was cancelled by nobody here has lost its connection. */
function isPassing(error: unknown, isAnswered: boolean): boolean {
  if (!(error instanceof ClientError)) return false;
  if (error.reason === "CANCELLED") return isAnswered;
  if (error.retryable || isUnreached(error)) return true;
  return error.reason === "UNRECOGNIZED" && brokenCodes.has(error.code);
}

/** Resolves early, too, if the signal fires. */
async function pauseQuietly(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await pause(ms, signal);
  } catch (error) {
    if (signal?.aborted !== true) throw error;
  }
}

function hasFired(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true;
}
