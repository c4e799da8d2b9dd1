/**
 * A bounded queue whose keys take turns: someone who queues a thousand items delays another's next
 * one by one item, not by a thousand.
 */
export class FairQueue<T> {
  readonly #max: number;
  /** In order of turns: a key goes to the end once one of its items was taken. */
  readonly #byKey = new Map<string, T[]>();
  #size = 0;

  constructor(max: number) {
    this.#max = max;
  }

  get size(): number {
    return this.#size;
  }

  /** @returns false if the queue is full. */
  push(key: string, item: T): boolean {
    if (this.#size >= this.#max) return false;
    const items = this.#byKey.get(key);
    if (items === undefined) this.#byKey.set(key, [item]);
    else items.push(item);
    this.#size++;
    return true;
  }

  shift(): T | undefined {
    for (const [key, items] of this.#byKey) {
      const item = items.shift();
      this.#byKey.delete(key);
      if (items.length > 0) this.#byKey.set(key, items);
      this.#size--;
      return item;
    }
    return undefined;
  }

  /** Takes an item out of turn. @returns false if it is not there. */
  remove(key: string, item: T): boolean {
    const items = this.#byKey.get(key);
    const position = items?.indexOf(item) ?? -1;
    if (items === undefined || position < 0) return false;
    items.splice(position, 1);
    if (items.length === 0) this.#byKey.delete(key);
    this.#size--;
    return true;
  }
}
