import { setTimeout as sleep } from "node:timers/promises";
import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";

/** How long it is tried to get a broken connection back, counted from the last byte that moved. */
const giveUpAfterMs = 30_000;
const firstPauseMs = 100;
const longestPauseMs = 3000;

/** What tells that a connection broke, beside what transports report without a server's word. */
const resumable: ReadonlySet<string> = new Set([
  "CONNECTION_BROKEN",
  "CONNECTION_FAILED",
  "CONTENT_MISMATCH",
  "OVERLOADED",
  "SHUTTING_DOWN",
]);
const brokenCodes: ReadonlySet<Code> = new Set([
  Code.Aborted,
  Code.Canceled,
  Code.Internal,
  Code.Unavailable,
  Code.Unknown,
]);

/** A transfer, however often it is tried. */
export interface Attempted {
  /** False while nothing has begun that could be gone on with. */
  readonly isBegun: boolean;
  /** Grows with what has moved. */
  readonly moved: number;
  /** What no further try can mend. */
  readonly failure: unknown;
}

/** Tries until it succeeds; answers how often it was begun again. */
export async function persist(
  signal: AbortSignal | undefined,
  state: Attempted,
  attempt: () => Promise<void>,
): Promise<number> {
  let pauseMs = firstPauseMs;
  let movedMs = performance.now();
  for (let resumed = 0; ; resumed += 1) {
    const before = state.moved;
    try {
      await attempt();
      return resumed;
    } catch (error) {
      if (signal?.aborted === true || !state.isBegun || !isBroken(error)) throw error;
      if (state.failure !== undefined) throw state.failure;
      if (state.moved > before) {
        pauseMs = firstPauseMs;
        movedMs = performance.now();
      }
      if (performance.now() - movedMs > giveUpAfterMs) throw error;
      await sleep(pauseMs, undefined, signal === undefined ? {} : { signal });
      pauseMs = Math.min(pauseMs * 2, longestPauseMs);
    }
  }
}

function isBroken(error: unknown): boolean {
  if (!(error instanceof ClientError)) return false;
  if (resumable.has(error.reason)) return true;
  const isUnsaid = error.reason === "UNRECOGNIZED" || error.reason === "CANCELLED";
  return isUnsaid && brokenCodes.has(error.code) && Object.keys(error.subject).length === 0;
}
