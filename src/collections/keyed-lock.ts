/** Runs pieces of work one after the other per key, in the order in which they came. */
export class KeyedLock {
  /** The last work of each key; a key is here only while it has work. */
  readonly #tails = new Map<string, Promise<void>>();

  /** True if any of the keys has work that runs or waits. Cheap while no key has. */
  isBusy(keys: readonly string[]): boolean {
    return this.#tails.size > 0 && keys.some((key) => this.#tails.has(key));
  }

  /**
   * Runs `work` once all work that was given earlier for any of the keys has ended. Taking all keys
   * at once, in one turn of the event loop, is what makes deadlocks impossible.
   */
  async run<T>(keys: readonly string[], work: () => Promise<T>): Promise<T> {
    const earlier = keys.flatMap((key) => this.#tails.get(key) ?? []);
    const { promise, resolve } = Promise.withResolvers<void>();
    for (const key of keys) this.#tails.set(key, promise);
    try {
      await Promise.all(earlier);
      return await work();
    } finally {
      for (const key of keys) {
        if (this.#tails.get(key) === promise) this.#tails.delete(key);
      }
      resolve();
    }
  }
}
