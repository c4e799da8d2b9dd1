import { CollectorError } from "../errors.ts";
import type { Clock } from "../lib/clock.ts";
import type { Log } from "../lib/log.ts";
import type { RecordStore } from "../storage/record-store.ts";

/** How often it is looked whether a collection is due. */
const tickMs = 1000;
/** Collections that one tick looks at: what is left over comes first in the next. */
const collectionsPerTickMax = 64;
/** Records that one write removes. */
const recordsPerWriteMax = 500;
/** Writes in a row for one collection, so that the others have their turn. */
const writesInARowMax = 10;
/** A collection in which nothing expires is looked at less and less often, down to this. */
const delayMaxUs = 60_000_000n;
const delayMinUs = 1_000_000n;

/** A collection as the sweeper sees it. */
export interface SweptCollection {
  readonly fullName: string;
  readonly isDeleted: boolean;
  readonly store: Pick<RecordStore, "expired">;
  readonly records: { expire(ids: readonly string[]): Promise<void> };
}

interface Schedule {
  lookUs: bigint;
  delayUs: bigint;
}

/**
 * Removes expired records from the disk, some time after they have vanished from reads. One timer
 * serves all collections; there is none while no collection has an expiry.
 *
 * A collection is looked at when a record that was written since the start is due, after finding some
 * again a second later, and after finding none after twice the time of before, up to a minute.
 */
export class ExpirySweeper implements AsyncDisposable {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #schedules = new Map<SweptCollection, Schedule>();
  #timer: NodeJS.Timeout | undefined;
  #round: Promise<void> | undefined;
  #isRunning = false;

  constructor({ clock, log }: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = clock;
    this.#log = log;
  }

  /** Begins to sweep by itself. */
  start(): void {
    this.#isRunning = true;
    this.#arm();
  }

  /** Has the collection looked at from now on, soon for the first time. */
  add(collection: SweptCollection): void {
    this.#schedules.set(collection, { lookUs: 0n, delayUs: delayMinUs });
    this.#arm();
  }

  remove(collection: SweptCollection): void {
    this.#schedules.delete(collection);
    if (this.#schedules.size > 0) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Says that a record was written which expires then. */
  note(collection: SweptCollection, expiresUs: bigint): void {
    const schedule = this.#schedules.get(collection);
    if (schedule !== undefined && expiresUs < schedule.lookUs) schedule.lookUs = expiresUs;
  }

  /** Looks at what is due. Failures are logged: the next look tries again. */
  sweep(): Promise<void> {
    this.#round ??= this.#sweep().finally(() => {
      this.#round = undefined;
    });
    return this.#round;
  }

  /** Ends after the write that is under way. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isRunning = false;
    this.#schedules.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#round;
  }

  #arm(): void {
    if (!this.#isRunning || this.#timer !== undefined || this.#schedules.size === 0) return;
    this.#timer = setTimeout(() => {
      void this.sweep().then(() => {
        this.#timer = undefined;
        this.#arm();
      });
    }, tickMs).unref();
  }

  async #sweep(): Promise<void> {
    const nowUs = this.#clock.nowUs();
    const due = [...this.#schedules]
      .filter(([, { lookUs }]) => lookUs <= nowUs)
      .sort(([, one], [, other]) => (one.lookUs < other.lookUs ? -1 : 1))
      .slice(0, collectionsPerTickMax);
    for (const [collection, schedule] of due) {
      // One that was removed meanwhile has no schedule any more.
      if (this.#schedules.get(collection) !== schedule || collection.isDeleted) continue;
      schedule.lookUs = nowUs + delayMaxUs;
      const found = await this.#sweepOne(collection);
      const doubled = schedule.delayUs * 2n;
      schedule.delayUs = found ? delayMinUs : doubled < delayMaxUs ? doubled : delayMaxUs;
      // A write may have noted an earlier time meanwhile.
      const nextUs = nowUs + schedule.delayUs;
      if (nextUs < schedule.lookUs) schedule.lookUs = nextUs;
    }
  }

  /** @returns whether there was something to remove. */
  async #sweepOne(collection: SweptCollection): Promise<boolean> {
    try {
      for (let writes = 0; writes < writesInARowMax; writes += 1) {
        const ids = await collection.store.expired(recordsPerWriteMax);
        if (ids.length === 0) return writes > 0;
        await collection.records.expire(ids);
        if (ids.length < recordsPerWriteMax || !this.#schedules.has(collection)) return true;
      }
      return true;
    } catch (error) {
      const isOver =
        error instanceof CollectorError &&
        (error.reason === "SHUTTING_DOWN" || error.reason === "COLLECTION_NOT_FOUND");
      if (!isOver) {
        const { fullName } = collection;
        this.#log.warn({ collection: fullName, err: error }, "expired records were not removed");
      }
      return false;
    }
  }
}
