/**
 * What is going on at the moment, each in a numbered slot: in and out in constant time. A number is given out again
 * once its slot is empty.
 *
 * For what comes and goes by millions, in place of a `Map` or `Set`: those are copied whenever they have got few
 * entries again, and each copy is referred to by the one before. As soon as a dead copy is among the old objects, as
 * after each collection of the whole heap, it keeps all copies that come after it, with what is in them, until the next
 * such collection.
 */
export class Slots<T> {
  readonly #values: (T | undefined)[] = [];
  readonly #free: number[] = [];

  get size(): number {
    return this.#values.length - this.#free.length;
  }

  /** @returns the number of its slot */
  add(value: T & {}): number {
    const free = this.#free.pop();
    if (free === undefined) return this.#values.push(value) - 1;
    this.#values[free] = value;
    return free;
  }

  /** Empties a slot. @returns what was in it; undefined if it is empty */
  take(slot: number): T | undefined {
    const value = this.#values[slot];
    if (value === undefined) return undefined;
    this.#values[slot] = undefined;
    this.#free.push(slot);
    return value;
  }

  /** What is in it now, whatever happens to it meanwhile. */
  values(): readonly T[] {
    return this.#values.filter((value) => value !== undefined);
  }

  clear(): void {
    this.#values.length = 0;
    this.#free.length = 0;
  }
}
