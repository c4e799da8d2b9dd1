import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import { withinLimit } from "../byte-method.ts";

type Item = IteratorResult<Uint8Array, undefined>;
type Source = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const done: Item = { done: true, value: undefined };

/**
 * What a caller in this process sends, as its handler reads it: a handler that waits for more is freed
 * when the call is over, whatever the caller's iterator does.
 */
export class LoopbackRequests implements AsyncIterableIterator<Uint8Array, undefined> {
  readonly #limits: Limits;
  readonly #source: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  #reject: ((error: Error) => void) | undefined;
  #isOver = false;

  constructor(source: Source, limits: Limits) {
    this.#limits = limits;
    this.#source =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<Item> {
    if (this.#isOver) return Promise.resolve(done);
    return new Promise((resolve, reject) => {
      this.#reject = reject;
      const take = (result: IteratorResult<Uint8Array>): void => {
        this.#reject = undefined;
        try {
          if (result.done === true) resolve(done);
          else resolve({ done: false, value: withinLimit(result.value, this.#limits) });
        } catch (error) {
          reject(error);
        }
      };
      // What the caller's iterator throws, at once or later, is the handler's to see.
      Promise.resolve()
        .then(() => this.#source.next())
        .then(take, reject);
    });
  }

  return(): Promise<Item> {
    this.stop();
    return Promise.resolve(done);
  }

  /** No more is wanted: whoever makes the messages is told, and whoever waits for one is freed. */
  stop(error: Error = new CollectorError("CANCELLED", "the call is over")): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reject?.(error);
    // A failure of its clean-up comes after the call's end: nobody waits for it any more.
    Promise.resolve()
      .then(() => this.#source.return?.())
      .catch(() => undefined);
  }
}
