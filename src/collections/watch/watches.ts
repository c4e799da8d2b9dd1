import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import { type Log, silentLog } from "../../lib/log.ts";
import type { RecordStore } from "../../storage/record-store.ts";
import { ChangeFeed } from "./change-feed.ts";
import { QueueBudget } from "./event-queue.ts";
import type { Watcher } from "./watcher.ts";

/** How often watches are looked at for tokens that grow old, and feeds without a tap for changes. */
const tickMs = 1000;

/** Reads of the history that run at a time: the readers are there for others too. */
const historyReadsMax = 2;

/** What watches pay attention to of a process's limits. */
export type WatchLimits = Pick<
  Limits,
  | "watchesMax"
  | "watchQueueChangesMax"
  | "watchQueueBytesMax"
  | "watchQueuesBytesMax"
  | "watchHeartbeatMs"
>;

export interface FeedOptions {
  readonly store: RecordStore;
  /** Whether every write is noted; if not, the store is asked again and again. */
  readonly isTapped: boolean;
}

interface OpenFeed {
  readonly feed: ChangeFeed;
  readonly isTapped: boolean;
  checkedMs: number;
}

/** All watches of a process: their number, their memory, their heartbeat and their end. */
export class Watches {
  readonly limits: WatchLimits;
  readonly budget: QueueBudget;
  readonly #log: Pick<Log, "error">;
  readonly #feeds = new Set<OpenFeed>();
  readonly #watchers = new Set<Watcher>();
  readonly #waitingReads: (() => void)[] = [];
  #reads = 0;
  #count = 0;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(limits: WatchLimits, log: Pick<Log, "error"> = silentLog) {
    this.limits = limits;
    this.budget = new QueueBudget(limits.watchQueuesBytesMax);
    this.#log = log;
  }

  /** Watches that run. */
  get count(): number {
    return this.#count;
  }

  /**
   * Counts one more watch; the result is to be called at its end.
   *
   * @throws {CollectorError} OVERLOADED, SHUTTING_DOWN
   */
  admit(): () => void {
    if (this.#isClosed) throw shuttingDown();
    const { watchesMax } = this.limits;
    if (this.#count >= watchesMax) {
      throw new CollectorError(
        "OVERLOADED",
        `${watchesMax} watches are running, the limit (watchesMax)`,
        { retryAfterMs: 1000 },
      );
    }
    this.#count += 1;
    return () => {
      this.#count -= 1;
    };
  }

  openFeed({ store, isTapped }: FeedOptions): ChangeFeed {
    const feed = new ChangeFeed({
      store,
      reading: (work) => this.#read(work),
      onError: (error) => this.#log.error({ err: error }, "changes could not be told"),
    });
    this.#feeds.add({ feed, isTapped, checkedMs: performance.now() });
    this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
    return feed;
  }

  closeFeed(feed: ChangeFeed): void {
    for (const open of this.#feeds) if (open.feed === feed) this.#feeds.delete(open);
    if (this.#feeds.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Has a watch send a token now and then; the result ends that. */
  keepFresh(watcher: Watcher): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  /** Ends all watches with SHUTTING_DOWN, and takes no more. */
  close(): void {
    this.#isClosed = true;
    for (const { feed } of this.#feeds) feed.end(shuttingDown());
  }

  #tick(): void {
    const { watchHeartbeatMs } = this.limits;
    for (const watcher of this.#watchers) watcher.refresh(watchHeartbeatMs);
    const nowMs = performance.now();
    for (const open of this.#feeds) {
      if (open.isTapped && nowMs - open.checkedMs < watchHeartbeatMs) continue;
      open.checkedMs = nowMs;
      open.feed.check().catch((error: unknown) => {
        // A store that was closed or dropped tells its watches itself.
        if (!(error instanceof CollectorError)) {
          this.#log.error({ err: error }, "a watched store could not be looked at");
        }
      });
    }
  }

  async #read<T>(work: () => Promise<T>): Promise<T> {
    if (this.#reads >= historyReadsMax) {
      // Whoever ends a read hands its place over.
      await new Promise<void>((resolve) => this.#waitingReads.push(resolve));
    } else {
      this.#reads += 1;
    }
    try {
      return await work();
    } finally {
      const next = this.#waitingReads.shift();
      if (next === undefined) this.#reads -= 1;
      else next();
    }
  }
}

function shuttingDown(): CollectorError {
  return new CollectorError("SHUTTING_DOWN", "this server is shutting down; watch on elsewhere", {
    retryAfterMs: 1000,
  });
}
