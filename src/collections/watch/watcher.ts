import type { Condition } from "../../storage/record-query.ts";
import type { ChangeFeed, FeedListener } from "./change-feed.ts";
import { compileCondition, EvaluatedRecord, type Predicate } from "./evaluate.ts";
import { countWithin, EventQueue, type QueueBudget, type QueueLimits } from "./event-queue.ts";
import { type FeedEvent, historicEvent, historyGone } from "./feed-event.ts";

export interface WatcherOptions {
  readonly feed: ChangeFeed;
  readonly condition: Condition;
  /** Where to start; undefined: now. */
  readonly after: bigint | undefined;
  readonly queue: QueueLimits;
  readonly budget: QueueBudget;
  /** Whether events without the record's bytes will do. */
  readonly idsOnly: boolean;
  /** Most bytes of records in one batch, about; a larger record comes alone. */
  readonly batchBytesMax: number;
  readonly signal: AbortSignal;
}

export interface EventBatch {
  readonly events: readonly FeedEvent[];
  /** Where to go on after these. */
  readonly revision: bigint;
}

/**
 * One watch: events as they happen as long as its reader keeps up, otherwise from the history, where
 * several changes of a record are one. Nothing is lost in between.
 *
 * While the last page of the history is read, events wait already; what the page holds too is dropped.
 */
export class Watcher implements FeedListener, Disposable {
  readonly #options: WatcherOptions;
  readonly #matches: Predicate;
  readonly #queue: EventQueue;
  /** From the history, still to be handed out. */
  #past: readonly FeedEvent[] = [];
  /** Where the history was read up to, once `#past` is handed out. */
  #pastEnd: bigint;
  /** Whether events come in; not if they would have to be thrown away. */
  #isListening: boolean;
  /** Whether nothing is missing between what was handed out and the queue. */
  #isLive: boolean;
  /** From where on the history is being read. */
  #since: bigint;
  #position: bigint;
  #isTokenDue = false;
  #wake: (() => void) | undefined;
  #idleSinceMs = performance.now();

  constructor(options: WatcherOptions) {
    const { feed, condition, after, queue, budget, signal } = options;
    this.#options = options;
    this.#matches = compileCondition(condition);
    this.#queue = new EventQueue(queue, budget);
    this.#isLive = after === undefined;
    this.#isListening = this.#isLive;
    this.#position = after ?? feed.now.revision;
    this.#since = this.#position;
    this.#pastEnd = this.#position;
    feed.add(this, condition);
    signal.addEventListener("abort", this.#onAbort);
  }

  /** Where to go on after what was handed out. */
  get position(): bigint {
    return this.#position;
  }

  push(event: FeedEvent): void {
    if (!this.#isListening || event.revision <= this.#pastEnd) return;
    if (this.#queue.push(event)) this.wake();
    else this.lapse();
  }

  lapse(): void {
    this.#queue.clear();
    this.#isListening = false;
    if (!this.#isLive) return;
    this.#isLive = false;
    this.#since = this.#past.length > 0 ? this.#pastEnd : this.#position;
    this.wake();
  }

  wake(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }

  /** Has it hand out where it stands if it was idle for so long. */
  refresh(idleMs: number): void {
    if (performance.now() - this.#idleSinceMs < idleMs) return;
    this.#isTokenDue = true;
    this.wake();
  }

  /**
   * The next events, as soon as there are any; none if only the position is told anew. To be called
   * once at a time.
   *
   * @throws what the feed ended with; the signal's reason; HISTORY_GONE
   */
  async next(): Promise<EventBatch> {
    const { feed, signal } = this.#options;
    for (;;) {
      if (feed.failure !== undefined) throw feed.failure;
      signal.throwIfAborted();
      const events = this.#take();
      if (events.length > 0) return this.#batch(await this.#complete(events));
      if (!this.#isLive) await this.catchUp();
      else if (this.#isTokenDue) return this.#batch([]);
      else await this.#awaken();
    }
  }

  /**
   * Reads on in the history, to the present if it is near.
   *
   * @throws {CollectorError} HISTORY_GONE
   */
  async catchUp(): Promise<void> {
    const { feed, signal } = this.#options;
    const from = this.#pastEnd > this.#position ? this.#pastEnd : this.#position;
    this.#queue.clear();
    this.#isListening = true;
    const page = await feed.history(from, signal);
    if (page.horizon > from || page.revision < from) throw historyGone();
    this.#past = page.changes.map((change) => {
      const { record } = change;
      const matches = record !== undefined && this.#matches(new EvaluatedRecord(record));
      return historicEvent(change, this.#since, matches);
    });
    this.#pastEnd = page.more ? (page.changes.at(-1)?.revision ?? from) : page.revision;
    if (page.more || !this.#isListening) {
      this.#isListening = false;
      this.#queue.clear();
    } else {
      this.#queue.dropUpTo(this.#pastEnd);
      this.#isLive = true;
    }
    if (this.#past.length === 0) this.#position = this.#pastEnd;
  }

  [Symbol.dispose](): void {
    const { feed, signal } = this.#options;
    signal.removeEventListener("abort", this.#onAbort);
    feed.remove(this);
    this.lapse();
  }

  readonly #onAbort = (): void => this.wake();

  #take(): readonly FeedEvent[] {
    const { batchBytesMax, feed } = this.#options;
    if (this.#past.length > 0) {
      const count = countWithin(this.#past, batchBytesMax);
      const events = this.#past.slice(0, count);
      this.#past = this.#past.slice(count);
      this.#position = this.#past.length > 0 ? (events.at(-1)?.revision ?? 0n) : this.#pastEnd;
      return events;
    }
    if (!this.#isLive) return [];
    const events = this.#queue.take(batchBytesMax);
    const last = events.at(-1)?.revision ?? 0n;
    const told = this.#queue.isEmpty ? feed.now.revision : last;
    if (told > this.#position) this.#position = told;
    return events;
  }

  #batch(events: readonly FeedEvent[]): EventBatch {
    this.#isTokenDue = false;
    this.#idleSinceMs = performance.now();
    return { events, revision: this.#position };
  }

  /** Reads the bytes of records of which only labels changed. A record that is gone is told of later. */
  async #complete(events: readonly FeedEvent[]): Promise<readonly FeedEvent[]> {
    if (this.#options.idsOnly) return events;
    const bare = events.filter(({ record }) => record !== undefined && record.data === undefined);
    if (bare.length === 0) return events;
    const ids = bare.map(({ id }) => id);
    const found = await this.#options.feed.read(ids);
    const records = new Map(ids.map((id, index) => [id, found[index]]));
    return events.flatMap((event) => {
      if (event.record === undefined || event.record.data !== undefined) return [event];
      const record = records.get(event.id);
      return record === undefined ? [] : [{ ...event, record }];
    });
  }

  #awaken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
