import { writeFileSync } from "node:fs";
import { getPriority, setPriority } from "node:os";

/**
 * How much work gives way to others. `whenever`, such as copies: it takes the time that nobody else wants,
 * and of a core that has none to spare still a tenth, since a snapshot that takes too long holds a log that
 * grows. `soon`: it must keep up with the others, of a core that has no time to spare it gets a quarter.
 */
export type Patience = "soon" | "whenever";

const niceOf: Readonly<Record<Patience, number>> = { soon: 5, whenever: 10 };

/** Lets the calling process give way to others. It is in a session of its own. */
export function lowerProcessPriority(patience: Patience): void {
  const nice = lower(patience);
  if (process.platform !== "linux") return;
  try {
    // Where Linux weighs sessions against each other, a priority counts only within its session.
    writeFileSync("/proc/self/autogroup", String(nice));
  } catch {
    // Kernels that do not weigh sessions have no such file, and need none.
  }
}

/** Lets the calling thread give way to others, its own process's too, where the system has such a thing. */
export function lowerThreadPriority(patience: Patience): void {
  // Linux takes 0 for the calling thread; others take it for all of the process.
  if (process.platform === "linux") lower(patience);
}

function lower(patience: Patience): number {
  // What was started at a lower one stays there: nobody may raise it again.
  const nice = Math.max(niceOf[patience], getPriority());
  setPriority(nice);
  return nice;
}
