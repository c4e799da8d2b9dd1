import type { CollectorError } from "../../errors.ts";

/** Counts what is going on with a store, so that it can be closed once nothing is. */
export class StoreGate {
  #active = 0;
  #closed: CollectorError | undefined;
  #idle: PromiseWithResolvers<void> | undefined;
  #ending = new AbortController();

  /** Fires when the gate closes: long work that can go on later should end. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** @throws {CollectorError} the one the gate was closed with. */
  check(): void {
    if (this.#closed !== undefined) throw this.#closed;
  }

  /** Runs work that counts as use of the store. @throws {CollectorError} as {@link check} */
  async use<T>(work: () => Promise<T>): Promise<T> {
    this.check();
    this.#active++;
    try {
      return await work();
    } finally {
      this.#active--;
      if (this.#active === 0) this.#idle?.resolve();
    }
  }

  /** Lets nothing in any more, and waits until what is inside has left. */
  async close(refusal: CollectorError): Promise<void> {
    this.#closed = refusal;
    this.#ending.abort(refusal);
    if (this.#active === 0) return;
    this.#idle ??= Promise.withResolvers();
    await this.#idle.promise;
  }

  /** Lets work in again. */
  open(): void {
    this.#closed = undefined;
    this.#idle = undefined;
    this.#ending = new AbortController();
  }
}
