/** Changes that are carried along before they are merged, at least. */
const changesMin = 64;

const gone: unique symbol = Symbol("gone");

/**
 * A map that can be copied for little: copies share what was there, and carry only what has
 * changed since. A fork costs in the order of the square root of the size, on average, and a lookup
 * two lookups.
 */
export class ForkableMap<K, V> implements ReadonlyMap<K, V> {
  /** Shared with other maps, so never written to. */
  readonly #base: ReadonlyMap<K, V>;
  readonly #changes: Map<K, V | typeof gone>;
  #size: number;

  private constructor(base: ReadonlyMap<K, V>, changes: Map<K, V | typeof gone>, size: number) {
    this.#base = base;
    this.#changes = changes;
    this.#size = size;
  }

  static empty<K, V>(): ForkableMap<K, V> {
    return new ForkableMap<K, V>(new Map(), new Map(), 0);
  }

  /** A map with the same content, to change by itself. */
  fork(): ForkableMap<K, V> {
    const { size } = this.#changes;
    if (size < changesMin || size * size < this.#base.size) {
      return new ForkableMap(this.#base, new Map(this.#changes), this.#size);
    }
    const base = new Map(this.#base);
    for (const [key, value] of this.#changes) {
      if (value === gone) base.delete(key);
      else base.set(key, value);
    }
    return new ForkableMap<K, V>(base, new Map(), this.#size);
  }

  get size(): number {
    return this.#size;
  }

  get(key: K): V | undefined {
    const changed = this.#changes.get(key);
    if (changed === gone) return undefined;
    return changed ?? this.#base.get(key);
  }

  has(key: K): boolean {
    const changed = this.#changes.get(key);
    return changed === undefined ? this.#base.has(key) : changed !== gone;
  }

  set(key: K, value: V): void {
    if (!this.has(key)) this.#size += 1;
    this.#changes.set(key, value);
  }

  delete(key: K): void {
    if (!this.has(key)) return;
    this.#size -= 1;
    if (this.#base.has(key)) this.#changes.set(key, gone);
    else this.#changes.delete(key);
  }

  *entries(): Generator<[K, V], undefined> {
    for (const [key, value] of this.#base) {
      const changed = this.#changes.get(key);
      if (changed !== gone) yield [key, changed ?? value];
    }
    for (const [key, value] of this.#changes) {
      if (value !== gone && !this.#base.has(key)) yield [key, value];
    }
  }

  [Symbol.iterator](): Generator<[K, V], undefined> {
    return this.entries();
  }

  *keys(): Generator<K, undefined> {
    for (const [key] of this.entries()) yield key;
  }

  *values(): Generator<V, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  forEach(visit: (value: V, key: K, map: ReadonlyMap<K, V>) => void): void {
    for (const [key, value] of this.entries()) visit(value, key, this);
  }
}
