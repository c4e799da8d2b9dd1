import { setTimeout as sleep } from "node:timers/promises";

/**
 * Asks again and again until `check` is true.
 *
 * @returns how long that took, in ms.
 * @throws if it is not within `withinMs`; what `check` threw last is the cause.
 */
export async function waitUntil(
  what: string,
  withinMs: number,
  check: () => Promise<boolean> | boolean,
): Promise<number> {
  const begin = performance.now();
  let cause: unknown;
  for (;;) {
    try {
      if (await check()) return performance.now() - begin;
      cause = undefined;
    } catch (error) {
      cause = error;
    }
    if (performance.now() - begin > withinMs) {
      throw new Error(`${what}: not within ${withinMs} ms`, { cause });
    }
    await sleep(20);
  }
}
