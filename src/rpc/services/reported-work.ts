import type { CopyRun } from "../../copies/copy-parts.ts";

/** How far work is. */
export interface WorkProgress {
  /** For people. */
  readonly phase: string;
  readonly done: bigint;
  /** 0 if that is not known. */
  readonly total: bigint;
}

/** What lies between two that are told, in ms. */
const pauseMs = 200;

/**
 * Does work and tells how far it is, some times a second; returns what the work resolves to. Who leaves early
 * waits for the end of the work, which is for a signal to hasten, and its outcome is disposed.
 *
 * @throws what `begin` rejects with
 */
export async function* reportedWork<T extends Disposable>(
  begin: (report: CopyRun["report"]) => Promise<T>,
): AsyncGenerator<{ readonly progress: WorkProgress }, T, undefined> {
  let latest: WorkProgress = { phase: "", done: 0n, total: 0n };
  let news = Promise.withResolvers<void>();
  const work = begin(({ phase = latest.phase, done, total }) => {
    // What another phase has counted says nothing of this one.
    const before = phase === latest.phase ? latest : { done: 0n, total: 0n };
    latest = { phase, done: done ?? before.done, total: total ?? before.total };
    news.resolve();
  });
  let isOver = false;
  const over = work.then(
    () => {
      isOver = true;
    },
    () => {
      isOver = true;
    },
  );
  let isTaken = false;
  try {
    for (;;) {
      await Promise.race([over, news.promise]);
      if (isOver) break;
      news = Promise.withResolvers<void>();
      yield { progress: latest };
      await within(pauseMs, over);
    }
    const outcome = await work;
    isTaken = true;
    return outcome;
  } finally {
    if (!isTaken) {
      const outcome = await work.catch(() => undefined);
      outcome?.[Symbol.dispose]();
    }
  }
}

/** Waits so long, or until the promise is settled. */
async function within(ms: number, promise: Promise<void>): Promise<void> {
  const { promise: passed, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([promise, passed]);
  clearTimeout(timer);
}
