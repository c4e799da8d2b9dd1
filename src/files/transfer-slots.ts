import { CollectorError } from "../errors.ts";

/** When a caller may try again whose transfer was one too many, in ms. */
const slotRetryMs = 1000;

/** Bounds how many transfers run at a time. */
export class TransferSlots {
  readonly #slotsMax: number;
  #taken = 0;

  constructor(slotsMax: number) {
    this.#slotsMax = slotsMax;
  }

  /** @throws {CollectorError} OVERLOADED if all are taken; the result gives the slot back */
  take(): Disposable {
    if (this.#taken >= this.#slotsMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${this.#taken} files are being sent or received, the limit fileTransfersMax is ${this.#slotsMax}; try again`,
        { retryAfterMs: slotRetryMs },
      );
    }
    this.#taken += 1;
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#taken -= 1;
        isHeld = false;
      },
    };
  }
}
