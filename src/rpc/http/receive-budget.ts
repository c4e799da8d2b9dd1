import { CollectorError } from "../../errors.ts";

/** What a caller who meets a full budget is told to wait. */
const retryAfterMs = 1000;

/** What unfinished messages may hold in memory, in sum over all connections. */
export class ReceiveBudget {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** A share for one request; disposing it gives everything back. */
  open(): ReceiveShare {
    return new ReceiveShare((bytes) => {
      this.#take(bytes);
    });
  }

  #take(bytes: number): void {
    if (bytes > 0 && this.#bytes + bytes > this.#bytesMax) {
      throw new CollectorError(
        "OVERLOADED",
        `requests being received hold ${this.#bytes} bytes, the limit receiveBufferBytesMax is ${this.#bytesMax}`,
        { retryAfterMs },
      );
    }
    this.#bytes += bytes;
  }
}

/** What one request holds of a {@link ReceiveBudget}. */
export class ReceiveShare {
  readonly #take: (bytes: number) => void;
  #held = 0;

  constructor(take: (bytes: number) => void) {
    this.#take = take;
  }

  /** @throws {CollectorError} OVERLOADED if there is no room for so many more */
  set(bytes: number): void {
    this.#take(bytes - this.#held);
    this.#held = bytes;
  }

  [Symbol.dispose](): void {
    this.set(0);
  }
}
