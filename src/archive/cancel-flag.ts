/** Says across threads that a job is no longer wanted: its one element becomes 1. */
export type CancelFlag = Int32Array<SharedArrayBuffer>;

export function createCancelFlag(): CancelFlag {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
}

/** Wakes who sleeps, too. */
export function raiseFlag(flag: CancelFlag): void {
  Atomics.store(flag, 0, 1);
  Atomics.notify(flag, 0);
}

export function isRaised(flag: CancelFlag): boolean {
  return Atomics.load(flag, 0) !== 0;
}

/** Blocks the thread until the time is over or the flag is raised. */
export function sleepUnlessRaised(flag: CancelFlag, ms: number): void {
  Atomics.wait(flag, 0, 0, ms);
}
