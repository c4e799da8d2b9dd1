import type { Call } from "../call.ts";

/** How long before its caller's deadline a call that waits for an operation answers. */
const marginMs = 250;

/** How long a call may wait for work that goes on without it. */
export function remainingMs({ deadlineMs }: Call): number | undefined {
  if (deadlineMs === undefined) return undefined;
  return Math.max(0, deadlineMs - performance.now() - marginMs);
}
