/**
 * Does `work` for each item, at most so many at a time, in the order of the items.
 *
 * @throws what `work` threw first. Then no further item was begun, and those under way have ended.
 */
export async function forEachBounded<T>(
  items: Iterable<T>,
  max: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const queue = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const lane = async (): Promise<void> => {
    for (let next = queue.next(); next.done !== true; next = queue.next()) {
      try {
        await work(next.value);
      } catch (error) {
        failures.push(error);
      }
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: max }, lane));
  if (failures.length > 0) throw failures[0];
}
