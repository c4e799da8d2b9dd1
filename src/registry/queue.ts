import { CollectorError } from "../errors.ts";

/** Calls that may wait for their turn. */
export const waitingMax = 1000;

/** How long a caller who is turned away should wait. */
const retryAfterMs = 1000;

/** Runs one piece of work after the other, in the order they came. */
export class Queue {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Whether nothing runs or waits. */
  get isIdle(): boolean {
    return this.#waiting === 0;
  }

  /**
   * @returns what `work` returns or throws; a failure does not hold up what comes after it
   * @throws {CollectorError} OVERLOADED if too many wait already
   */
  run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#waiting >= waitingMax) {
      const message = `${this.#waiting} registrations are waiting, the limit is ${waitingMax}`;
      return Promise.reject(new CollectorError("OVERLOADED", message, { retryAfterMs }));
    }
    this.#waiting += 1;
    const turn = this.#last.then(work).finally(() => {
      this.#waiting -= 1;
    });
    // The next one waits for the end of this one, good or bad; its caller gets the failure.
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
