import { writeFileSync } from "node:fs";
import { setPriority } from "node:os";

/**
 * What copies run at: they take the time that nobody else wants, and of a core that has none to spare still a
 * tenth, since a snapshot that takes too long holds a log that grows.
 */
const backgroundNice = 10;

/** Lets the calling process give way to others. It is in a session of its own. */
export function lowerProcessPriority(): void {
  setPriority(backgroundNice);
  if (process.platform !== "linux") return;
  try {
    // Where Linux weighs sessions against each other, a priority counts only within its session.
    writeFileSync("/proc/self/autogroup", String(backgroundNice));
  } catch {
    // Kernels that do not weigh sessions have no such file, and need none.
  }
}

/** Lets the calling thread give way to others, its own process's too, where the system has such a thing. */
export function lowerThreadPriority(): void {
  // Linux takes 0 for the calling thread; others take it for all of the process.
  if (process.platform === "linux") setPriority(backgroundNice);
}
