type Item<T> = IteratorResult<T, undefined>;

/** What one side pushes and the other one reads. */
export class Pipe<T> implements AsyncIterableIterator<T, undefined> {
  readonly #items: T[] = [];
  #waiter: PromiseWithResolvers<Item<T>> | undefined;
  #end: { readonly error: Error | undefined } | undefined;

  push(item: T): void {
    if (this.#end !== undefined) return;
    this.#items.push(item);
    this.#serve();
  }

  end(): void {
    this.#end ??= { error: undefined };
    this.#serve();
  }

  fail(error: Error): void {
    if (this.#end !== undefined) return;
    this.#end = { error };
    this.#items.length = 0;
    this.#serve();
  }

  next(): Promise<Item<T>> {
    this.#waiter = Promise.withResolvers<Item<T>>();
    const { promise } = this.#waiter;
    this.#serve();
    return promise;
  }

  return(): Promise<Item<T>> {
    this.#items.length = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #serve(): void {
    const waiter = this.#waiter;
    if (waiter === undefined) return;
    const [item] = this.#items;
    if (item !== undefined) {
      this.#items.shift();
      this.#waiter = undefined;
      waiter.resolve({ done: false, value: item });
    } else if (this.#end !== undefined) {
      const { error } = this.#end;
      this.#waiter = undefined;
      if (error === undefined) waiter.resolve({ done: true, value: undefined });
      else waiter.reject(error);
    }
  }
}
