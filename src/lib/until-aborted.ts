/** Items that can be given up while one is waited for; a generator could not. */
export interface AbortableItems<T> extends AsyncIterableIterator<T, undefined> {
  return(): Promise<IteratorReturnResult<undefined>>;
}

/**
 * Gives up waiting when `signal` fires, or when nobody wants more: what feeds the items may never hear of
 * it, and is not waited for. Iterated once.
 */
export function untilAborted<T>(items: AsyncIterable<T>, signal: AbortSignal): AbortableItems<T> {
  const iterator = items[Symbol.asyncIterator]();
  const over = { done: true, value: undefined } as const;
  let isDone = false;
  const giveUp = (): void => {
    if (isDone) return;
    isDone = true;
    iterator.return?.().catch(() => undefined);
  };
  const itself: AbortableItems<T> = {
    [Symbol.asyncIterator]: () => itself,
    next: async () => {
      if (isDone) return over;
      try {
        signal.throwIfAborted();
        const result = await orAborted(iterator.next(), signal);
        if (result.done !== true) return result;
        isDone = true;
        return over;
      } catch (error) {
        giveUp();
        throw error;
      }
    },
    return: () => {
      giveUp();
      return Promise.resolve(over);
    },
  };
  return itself;
}

/**
 * What `work` comes to, or the reason of `signal` if that is first. A promise of its own for each: one that
 * outlives them, in a race, would keep them all.
 */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      reject(signal.reason);
    };
    if (signal.aborted) {
      work.catch(() => undefined);
      abort();
      return;
    }
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => {
      signal.removeEventListener("abort", abort);
    });
  });
}
