import { setImmediate as nextTurn } from "node:timers/promises";
import type { Condition } from "../../storage/record-query.ts";
import type { ChangePage, RecordStore, Write, WriteOutcome } from "../../storage/record-store.ts";
import type { StoredRecord } from "../../storage/stored-record.ts";
import { changesOf, historyGone, type LiveChange } from "./feed-event.ts";
import { FilterGroups, type Listener } from "./filter-groups.ts";
import type { Moment } from "./resume-token.ts";
import { type NotedWrite, WriteOrder } from "./write-order.ts";

/** Writes that were noted while the feed started. */
type Starting = NotedWrite[];

/** A missing write that has not come after this time is looked up in the history. */
const gapMs = 200;

/** Longest turn of the event loop that telling changes may take, about. */
const turnMs = 4;

/** Changes that may wait to be told; if filters cannot keep up, the watches read the history instead. */
const backlogMax = 10_000;

/** The same in bytes of records. */
const backlogBytesMax = 64 * 1024 * 1024;

/** Changes read from the history at once. */
const historyPageMax = 500;

export interface ChangeFeedOptions {
  readonly store: RecordStore;
  /** Runs reads of the history, a few at a time over all feeds. */
  readonly reading: <T>(work: () => Promise<T>) => Promise<T>;
  /** Told of what goes wrong beside any call. */
  readonly onError: (error: unknown) => void;
}

/** Someone who is told of changes. */
export interface FeedListener extends Listener {
  /** Wakes it to look at the feed again: it has moved on, or has ended. */
  wake(): void;
}

/**
 * The changes of one collection as they happen, in order of revision, for any number of listeners.
 *
 * Writes are noted as they are acknowledged and told in a later turn of the event loop, so a write
 * never waits for a listener. What is missed (a write of unknown outcome, a write of another process's
 * part) leaves a gap in the revisions; then all listeners lapse, to read the history instead.
 */
export class ChangeFeed {
  readonly #options: ChangeFeedOptions;
  readonly #groups = new FilterGroups();
  readonly #listeners = new Map<FeedListener, Condition>();
  #order: WriteOrder | Starting = [];
  #started: Promise<void> | undefined;
  #incarnation = "";
  /** Up to here everything was told. */
  #head = 0n;
  #backlog: LiveChange[] = [];
  #backlogBytes = 0;
  #isTelling = false;
  #gapTimer: NodeJS.Timeout | undefined;
  #failure: Error | undefined;

  constructor(options: ChangeFeedOptions) {
    this.#options = options;
  }

  /** Up to where listeners were told everything. */
  get now(): Moment {
    return { revision: this.#head, incarnation: this.#incarnation };
  }

  /** Why the feed has ended, if it has. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  get isIdle(): boolean {
    return this.#listeners.size === 0;
  }

  wantsBefore(): boolean {
    return this.#groups.hasFilters;
  }

  note(write: Write, outcome: WriteOutcome): void {
    if (this.#failure !== undefined) return;
    const noted = { write, outcome };
    if (!(this.#order instanceof WriteOrder)) {
      this.#order.push(noted);
      return;
    }
    this.#pass(this.#order.add(noted));
    this.#watchGap(this.#order);
  }

  /** Resolves when nothing that is written from now on is missed. */
  async start(): Promise<void> {
    this.#started ??= this.#start();
    await this.#started;
  }

  add(listener: FeedListener, condition: Condition): void {
    this.#listeners.set(listener, condition);
    this.#groups.add(listener, condition);
  }

  remove(listener: FeedListener): void {
    const condition = this.#listeners.get(listener);
    if (condition === undefined) return;
    this.#listeners.delete(listener);
    this.#groups.remove(listener, condition);
    if (this.isIdle) clearTimeout(this.#gapTimer);
  }

  /** Changes after a revision, from the history. */
  history(revision: bigint, signal: AbortSignal): Promise<ChangePage> {
    const { store, reading } = this.#options;
    return reading(() => {
      signal.throwIfAborted();
      return store.changes(revision, historyPageMax, { signal });
    });
  }

  /** Records as they are now. */
  read(ids: readonly string[]): Promise<readonly (StoredRecord | undefined)[]> {
    return this.#options.store.get(ids);
  }

  /** Finds out whether the store has moved on without a word. */
  async check(): Promise<void> {
    const order = this.#order;
    if (!(order instanceof WriteOrder) || this.isIdle) return;
    const { end } = order;
    const { revision, incarnation } = await this.#options.store.stats();
    if (incarnation !== this.#incarnation) {
      this.end(historyGone());
    } else if (revision > end && order.end === end) {
      this.#lapseTo(order, revision);
    }
  }

  /** Ends all watches. */
  end(failure: Error): void {
    this.#failure ??= failure;
    clearTimeout(this.#gapTimer);
    this.#backlog = [];
    for (const listener of this.#listeners.keys()) listener.wake();
  }

  async #start(): Promise<void> {
    const { revision, incarnation } = await this.#options.store.stats();
    const early = this.#order;
    const order = new WriteOrder(revision);
    this.#order = order;
    this.#head = revision;
    this.#incarnation = incarnation;
    if (!(early instanceof WriteOrder)) {
      for (const { write, outcome } of early) this.note(write, outcome);
    }
  }

  #pass(writes: readonly NotedWrite[]): void {
    for (const { write, outcome } of writes) {
      for (const change of changesOf(write, outcome)) {
        this.#backlog.push(change);
        this.#backlogBytes += sizeOf(change);
      }
    }
    const isLong = this.#backlog.length > backlogMax || this.#backlogBytes > backlogBytesMax;
    if (isLong && this.#order instanceof WriteOrder) {
      this.#lapseTo(this.#order, this.#order.end);
    }
    if (this.#backlog.length === 0 || this.#isTelling) return;
    this.#isTelling = true;
    this.#tellAll().catch((error: unknown) => {
      this.#isTelling = false;
      this.#options.onError(error);
      if (this.#order instanceof WriteOrder) this.#lapseTo(this.#order, this.#order.end);
    });
  }

  async #tellAll(): Promise<void> {
    for (;;) {
      // After the writes that are answered in this turn have gone out.
      await nextTurn();
      const endMs = performance.now() + turnMs;
      const backlog = this.#backlog;
      let told = 0;
      for (const change of backlog) {
        this.#groups.tell(change);
        this.#head = change.revision;
        this.#backlogBytes -= sizeOf(change);
        told += 1;
        if (told % 16 === 0 && performance.now() > endMs) break;
      }
      this.#backlog = backlog.slice(told);
      if (this.#backlog.length > 0) continue;
      this.#isTelling = false;
      return;
    }
  }

  #watchGap(order: WriteOrder): void {
    if (!order.hasGap) {
      clearTimeout(this.#gapTimer);
      this.#gapTimer = undefined;
      return;
    }
    this.#gapTimer ??= setTimeout(() => {
      this.#gapTimer = undefined;
      this.#lapseTo(order);
      this.#watchGap(order);
    }, gapMs).unref();
  }

  /** Has everyone read the history up to a revision, or over what is missing. */
  #lapseTo(order: WriteOrder, revision?: bigint): void {
    const next = order.skip(revision);
    const [first] = next;
    const changed = first?.outcome.outcomes.filter(({ change }) => change !== "none").length ?? 0;
    this.#backlog = [];
    this.#backlogBytes = 0;
    this.#head = first === undefined ? order.end : first.outcome.revision - BigInt(changed);
    for (const listener of this.#listeners.keys()) {
      listener.lapse();
      listener.wake();
    }
    this.#pass(next);
  }
}

function sizeOf({ record }: LiveChange): number {
  return record?.data?.byteLength ?? 0;
}
