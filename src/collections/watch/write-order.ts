import type { Write, WriteOutcome } from "../../storage/record-store.ts";

/** A write that was acknowledged. */
export interface NotedWrite {
  readonly write: Write;
  readonly outcome: WriteOutcome;
}

/** Puts acknowledged writes in the order of their revisions, and finds out if one is missing. */
export class WriteOrder {
  /** By the revision before them. */
  readonly #waiting = new Map<bigint, NotedWrite>();
  #end: bigint;

  constructor(revision: bigint) {
    this.#end = revision;
  }

  /** Revision of the last write that was passed on. */
  get end(): bigint {
    return this.#end;
  }

  /** Whether a write is known that cannot be passed on, as one before it is missing. */
  get hasGap(): boolean {
    return this.#waiting.size > 0;
  }

  /** @returns the writes that are next now, in order; none if this one does not matter. */
  add(noted: NotedWrite): readonly NotedWrite[] {
    const { outcomes, revision, replayed } = noted.outcome;
    const changed = outcomes.filter(({ change }) => change !== "none").length;
    if (replayed || changed === 0 || revision <= this.#end) return [];
    this.#waiting.set(revision - BigInt(changed), noted);
    return this.#take();
  }

  /**
   * Gives up on everything up to `revision`, or if undefined on what is missing before the first write
   * that waits.
   */
  skip(revision?: bigint): readonly NotedWrite[] {
    const begins = [...this.#waiting.keys()].toSorted((a, b) => (a < b ? -1 : 1));
    const target = revision ?? begins[0];
    if (target === undefined || target <= this.#end) return [];
    this.#end = target;
    for (const begin of begins) if (begin < target) this.#waiting.delete(begin);
    return this.#take();
  }

  #take(): readonly NotedWrite[] {
    const ready: NotedWrite[] = [];
    for (;;) {
      const next = this.#waiting.get(this.#end);
      if (next === undefined) return ready;
      this.#waiting.delete(this.#end);
      this.#end = next.outcome.revision;
      ready.push(next);
    }
  }
}
