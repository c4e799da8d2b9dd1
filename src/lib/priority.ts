import { getPriority, setPriority } from "node:os";

/**
 * How much work gives way to others. `whenever`, such as copies: it takes the time that nobody else wants,
 * and of a core that has none to spare still a tenth, since a snapshot that takes too long holds a log that
 * grows. `soon`: it must keep up with the others, of a core that has no time to spare it gets a quarter.
 */
export type Patience = "soon" | "whenever";

const niceOf: Readonly<Record<Patience, number>> = { soon: 5, whenever: 10 };

/** Lets the calling thread give way to others, its own process's too, where the system has such a thing. */
export function lowerThreadPriority(patience: Patience): void {
  // Linux takes 0 for the calling thread; others take it for all of the process.
  if (process.platform === "linux") lower(patience, 0);
}

/** Lets a process give way to others that was just started: on Linux what it starts itself from then on too. */
export function lowerPriority(patience: Patience, pid: number): void {
  try {
    lower(patience, pid);
  } catch {
    // It has ended already, which its exit event says as well.
  }
}

function lower(patience: Patience, pid: number): void {
  // What was started at a lower one stays there: nobody may raise it again.
  setPriority(pid, Math.max(niceOf[patience], getPriority(pid)));
}
