/** A call that has to end by a moment on the clock of `performance.now()`. */
export interface Due {
  readonly dueMs: number;
  /** Its place among those that wait, -1 for none; for {@link Deadlines} only. */
  place: number;
  onDue(): void;
}

/**
 * The deadlines of the calls that run, behind one timer: most calls end long before theirs, and setting and clearing
 * a timer for each costs more than the rest of the watch. The timer does not keep the process alive; a call's
 * connection does.
 */
export class Deadlines {
  /** In no order. A `Set` would keep calls that have ended, see decision 0024. */
  readonly #waiting: Due[] = [];
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  add(due: Due): void {
    due.place = this.#waiting.push(due) - 1;
    if (due.dueMs < this.#timerMs) this.#wakeAt(due.dueMs);
  }

  remove(due: Due): void {
    const { place } = due;
    if (place < 0) return;
    due.place = -1;
    const last = this.#waiting.pop();
    if (last === undefined || last === due) return;
    this.#waiting[place] = last;
    last.place = place;
  }

  #wakeAt(dueMs: number): void {
    clearTimeout(this.#timer);
    this.#timerMs = dueMs;
    const waitMs = Math.max(0, Math.ceil(dueMs - performance.now()));
    // A longer wait than a timer can have is looked at again before its end.
    this.#timer = setTimeout(() => this.#look(), Math.min(waitMs, 2 ** 31 - 1)).unref();
  }

  #look(): void {
    this.#timerMs = Number.POSITIVE_INFINITY;
    const nowMs = performance.now();
    for (const due of this.#waiting.filter(({ dueMs }) => dueMs <= nowMs)) {
      // Another's end may have been its own.
      if (due.place < 0) continue;
      this.remove(due);
      due.onDue();
    }
    const nextMs = this.#waiting.reduce(
      (soonest, { dueMs }) => Math.min(soonest, dueMs),
      Number.POSITIVE_INFINITY,
    );
    // What a call has begun meanwhile has seen to the timer itself.
    if (nextMs < this.#timerMs) this.#wakeAt(nextMs);
  }
}
