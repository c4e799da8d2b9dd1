import { mainThreadTimes, type ThreadTimes, threadTimes } from "./thread-times.ts";

/** What is left to a thread of one core while the main thread wants the cores. */
export const throttledShare: number = 1 / 16;

/** A core is wanted by more than one if a thread waited for so much of the time that it ran. */
const waitedShareMin = 0.1;

/** The main thread has work, if it ran for so much of the time. */
const busyShareMin = 0.05;

/** Longest sleep between two steps, however long the first of them took. */
export const sleepMsMax = 200;

export interface CpuThrottleOptions {
  /** Blocks the thread for so long; may return early, when the work is no longer wanted. */
  readonly sleep: (ms: number) => void;
  readonly nowMs?: () => number;
  readonly times?: () => ThreadTimes | undefined;
  readonly mainTimes?: () => ThreadTimes | undefined;
}

/**
 * Keeps long work in a thread off the cores while the main thread, where calls are served, wants them. Low priority
 * alone does not: it limits how much the thread gets, but those who wake up to do a little, as an event loop does for
 * every call, still wait until the slice of the thread is over.
 *
 * After a step in which both had to wait for a core, and the main thread had work, the thread sleeps, until what it
 * ran is {@link throttledShare} of the time that has passed. So of a core it always gets that share, or what the
 * system would give it if that is less. Copies that only have each other for company, and all where the system does
 * not say how long a thread waits, never sleep.
 */
export class CpuThrottle {
  readonly #sleep: (ms: number) => void;
  readonly #nowMs: () => number;
  readonly #times: () => ThreadTimes | undefined;
  readonly #mainTimes: () => ThreadTimes | undefined;
  /** Undefined for good once the system did not say. */
  #last: ThreadTimes | undefined;
  #sinceMs: number;
  /** When the step began, and what the main thread had had by then. */
  #beganMs: number;
  #main: ThreadTimes | undefined;

  constructor(options: CpuThrottleOptions) {
    this.#sleep = options.sleep;
    this.#nowMs = options.nowMs ?? (() => performance.now());
    this.#times = options.times ?? threadTimes;
    this.#mainTimes = options.mainTimes ?? mainThreadTimes;
    this.#last = this.#times();
    this.#main = this.#mainTimes();
    this.#sinceMs = this.#nowMs();
    this.#beganMs = this.#sinceMs;
  }

  /** To be called by the thread between steps of some milliseconds. */
  step(): void {
    if (this.#last === undefined) return;
    const times = this.#times();
    const sleepMs = times === undefined ? 0 : this.#dueMs(this.#last, times);
    this.#last = times;
    // What it sleeps longer than that, and waits for a core when it wakes up, counts for the next step.
    this.#sinceMs = this.#nowMs() + sleepMs;
    if (sleepMs > 0) this.#sleep(sleepMs);
    // While this thread slept the main thread had the cores.
    this.#beganMs = this.#nowMs();
    this.#main = this.#mainTimes();
  }

  #dueMs(before: ThreadTimes, now: ThreadTimes): number {
    const ranMs = now.ranMs - before.ranMs;
    const waitedMs = now.waitedMs - before.waitedMs;
    if (waitedMs <= waitedShareMin * ranMs || !this.#keepsMainWaiting()) return 0;
    const passedMs = this.#nowMs() - this.#sinceMs;
    return Math.min(sleepMsMax, Math.max(0, ranMs / throttledShare - passedMs));
  }

  #keepsMainWaiting(): boolean {
    const before = this.#main;
    const now = this.#mainTimes();
    if (before === undefined || now === undefined) return false;
    const ranMs = now.ranMs - before.ranMs;
    const waitedMs = now.waitedMs - before.waitedMs;
    const isBusy = ranMs > busyShareMin * (this.#nowMs() - this.#beganMs);
    return isBusy && waitedMs > waitedShareMin * ranMs;
  }
}
