import { CollectorError } from "../errors.ts";

/** When a caller may try again whose transfer was one too many, in ms. */
const retryMs = 1000;

export interface TransferSlotsOptions {
  readonly slotsMax: number;
  /** What takes them, as in `archives are on their way`. */
  readonly what: string;
  /** Name of the limit. */
  readonly limit: string;
  /** Gives back slots that nobody uses, if there are any; called before one is refused. */
  readonly reclaim?: () => void;
}

/** Bounds how many transfers there are at a time. */
export class TransferSlots {
  readonly #options: TransferSlotsOptions;
  #taken = 0;

  constructor(options: TransferSlotsOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} OVERLOADED if all are taken; the result gives the slot back */
  take(): Disposable {
    const { slotsMax, what, limit, reclaim } = this.#options;
    if (this.#taken >= slotsMax) reclaim?.();
    if (this.#taken >= slotsMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${this.#taken} ${what}, the limit ${limit} is ${slotsMax}; try again`,
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
