import { setTimeout as sleep } from "node:timers/promises";
import { CollectorError, type ErrorReason } from "../../errors.ts";

/** How often something is tried in vain, one time after the other. */
const failuresMax = 10;
/** Before the second try, and at most, in ms. Together about 20 s. */
const delayMinMs = 100;
const delayMaxMs = 5000;

/** What may be different the next time. */
const passing: ReadonlySet<ErrorReason> = new Set<ErrorReason>([
  "PEER_UNAVAILABLE",
  "SHUTTING_DOWN",
  "CONTENT_MISMATCH",
  "DEADLINE_EXCEEDED",
]);

/** Tries that may fail, with longer and longer pauses between them, until there is progress again. */
export class Attempts {
  readonly #signal: AbortSignal;
  #failures = 0;

  constructor(signal: AbortSignal) {
    this.#signal = signal;
  }

  /** Something has come through: what fails from here on counts anew. */
  noteProgress(): void {
    this.#failures = 0;
  }

  /**
   * Waits until it is time for another try.
   *
   * @throws `error` if another try would be in vain; the signal's reason
   */
  async afterFailure(error: unknown): Promise<void> {
    this.#signal.throwIfAborted();
    this.#failures += 1;
    if (!isPassing(error) || this.#failures >= failuresMax) throw error;
    const delayMs = Math.min(delayMaxMs, delayMinMs * 2 ** (this.#failures - 1));
    // Many that were cut at once do not come back at once.
    const jitteredMs = delayMs * (0.5 + Math.random() / 2);
    await sleep(jitteredMs, undefined, { signal: this.#signal }).catch(() => {
      this.#signal.throwIfAborted();
    });
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof CollectorError && passing.has(error.reason);
}
