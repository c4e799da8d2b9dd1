import { bytesOf, type FeedEvent } from "./feed-event.ts";

export interface QueueLimits {
  readonly eventsMax: number;
  readonly bytesMax: number;
}

/** What all queues of a process may hold together. */
export class QueueBudget {
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** @returns false if there is no room. */
  take(bytes: number): boolean {
    if (this.#bytes + bytes > this.#bytesMax) return false;
    this.#bytes += bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#bytes -= bytes;
  }
}

/** Events that wait for a reader, so many and no more. */
export class EventQueue {
  readonly #limits: QueueLimits;
  readonly #budget: QueueBudget;
  #events: FeedEvent[] = [];
  #bytes = 0;

  constructor(limits: QueueLimits, budget: QueueBudget) {
    this.#limits = limits;
    this.#budget = budget;
  }

  get isEmpty(): boolean {
    return this.#events.length === 0;
  }

  /** @returns false if there is no room for it. */
  push(event: FeedEvent): boolean {
    const bytes = bytesOf(event);
    const { eventsMax, bytesMax } = this.#limits;
    // One event that is larger than the limit has to pass all the same.
    const isFull = this.#bytes + bytes > bytesMax && this.#events.length > 0;
    if (isFull || this.#events.length >= eventsMax || !this.#budget.take(bytes)) return false;
    this.#bytes += bytes;
    this.#events.push(event);
    return true;
  }

  /** Takes events from the front, at least one if there is any, and no more than these bytes. */
  take(bytesMax: number): FeedEvent[] {
    const count = countWithin(this.#events, bytesMax);
    const taken = this.#events.slice(0, count);
    this.#events = this.#events.slice(count);
    this.#release(taken);
    return taken;
  }

  /** Drops what is at or before `revision`. */
  dropUpTo(revision: bigint): void {
    const dropped = this.#events.filter((event) => event.revision <= revision);
    this.#events = this.#events.filter((event) => event.revision > revision);
    this.#release(dropped);
  }

  clear(): void {
    this.#events = [];
    this.#budget.giveBack(this.#bytes);
    this.#bytes = 0;
  }

  #release(events: readonly FeedEvent[]): void {
    const bytes = events.reduce((sum, event) => sum + bytesOf(event), 0);
    this.#bytes -= bytes;
    this.#budget.giveBack(bytes);
  }
}

/** How many events fit, but at least one if there is any. */
export function countWithin(events: readonly FeedEvent[], bytesMax: number): number {
  let bytes = 0;
  for (const [index, event] of events.entries()) {
    bytes += bytesOf(event);
    if (bytes > bytesMax) return Math.max(index, 1);
  }
  return events.length;
}
