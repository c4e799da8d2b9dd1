import { Slots } from "../lib/slots.ts";

/** A call that has to end by a moment on the clock of `performance.now()`. */
export interface Due {
  readonly dueMs: number;
  /** Where it waits; for {@link Deadlines} only. */
  slot: number;
  onDue(): void;
}

/**
 * The deadlines of the calls that run, behind one timer: most calls end long before theirs, and setting and clearing
 * a timer for each costs more than the rest of the watch. The timer does not keep the process alive; a call's
 * connection does.
 */
export class Deadlines {
  readonly #waiting = new Slots<Due>();
  #timer: NodeJS.Timeout | undefined;
  #timerMs = Number.POSITIVE_INFINITY;

  add(due: Due): void {
    due.slot = this.#waiting.add(due);
    if (due.dueMs < this.#timerMs) this.#wakeAt(due.dueMs);
  }

  remove(due: Due): void {
    this.#waiting.take(due.slot);
    due.slot = -1;
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
    let nextMs = Number.POSITIVE_INFINITY;
    for (const due of this.#waiting.values()) {
      // Another's end may have been its own.
      if (due.slot < 0) continue;
      if (due.dueMs > nowMs) nextMs = Math.min(nextMs, due.dueMs);
      else {
        this.remove(due);
        due.onDue();
      }
    }
    // What a call has begun meanwhile has seen to the timer itself.
    if (nextMs < this.#timerMs) this.#wakeAt(nextMs);
  }
}
