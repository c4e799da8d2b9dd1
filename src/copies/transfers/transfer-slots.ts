import { CollectorError } from "../../errors.ts";

/** When a caller may try again whose transfer was one too many, in ms. */
const retryMs = 1000;

/** Bounds how many archives are on their way, in and out together. */
export class TransferSlots {
  readonly #slotsMax: number;
  readonly #reclaim: () => void;
  #taken = 0;

  /** @param reclaim asked when all are taken: to give back one that is not needed any more, if there is one */
  constructor(slotsMax: number, reclaim: () => void) {
    this.#slotsMax = slotsMax;
    this.#reclaim = reclaim;
  }

  /** @throws {CollectorError} OVERLOADED if all are taken; the result gives the slot back */
  take(): Disposable {
    if (this.#taken >= this.#slotsMax) this.#reclaim();
    if (this.#taken >= this.#slotsMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${this.#taken} archives are on their way, the limit transfersMax is ${this.#slotsMax}; try again`,
        { retryAfterMs: retryMs },
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
