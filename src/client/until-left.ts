/**
 * The answers of a call, which ends when whoever reads them stops: of itself it would go on behind, as clients of
 * Connect let no reader end a call but by a signal.
 *
 * @param signal of the caller
 */
export async function* untilLeft<T>(
  call: (signal: AbortSignal) => AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T> {
  const left = new AbortController();
  const signals = signal === undefined ? [left.signal] : [left.signal, signal];
  const answers = call(AbortSignal.any(signals))[Symbol.asyncIterator]();
  let isOver = false;
  const next = async (): Promise<IteratorResult<T>> => {
    isOver = true;
    const result = await answers.next();
    isOver = result.done === true;
    return result;
  };
  try {
    for (let result = await next(); result.done !== true; result = await next()) yield result.value;
  } finally {
    if (!isOver) {
      left.abort();
      // Only somebody who asks for more has the timer of the call cleared.
      answers.next().catch(() => undefined);
    }
  }
}
