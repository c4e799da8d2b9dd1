/** Runs things later; a test has one whose time it moves itself. */
export interface Scheduler {
  /** Milliseconds on a clock that never goes back. */
  nowMs(): number;
  /** Runs `run` once, after `ms`, unless what is returned is disposed before. */
  after(ms: number, run: () => void): Disposable;
}

/** The system's timers. They do not keep a process alive. */
export const systemScheduler: Scheduler = {
  nowMs: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms).unref();
    return { [Symbol.dispose]: () => clearTimeout(timer) };
  },
};
