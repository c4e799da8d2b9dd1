/** What a record holds, by the number of the writing that made it; undefined: there is none. */
export type Content = number | undefined;

/** What was found of a record. */
export interface Found {
  /** The number of the writing that its bytes are from, if they are exactly what was written. */
  readonly writing: Content;
  readonly version: bigint;
}

/** One write: what it makes of the records it is about. All of it or none must be found later. */
export interface Attempt {
  changes: ReadonlyMap<string, Content>;
  /** The highest version that was acknowledged before this write began. */
  readonly floor: bigint;
}

interface Known {
  readonly writing: number;
  readonly version: bigint;
}

/**
 * Remembers, outside the server, what the server has acknowledged, and says what is wrong with what
 * is found later.
 *
 * A record must have at most one attempt open at a time: who writes it waits for the answer first.
 */
export class Oracle {
  readonly #records = new Map<string, Known>();
  readonly #open = new Set<Attempt>();
  #broken: string[] = [];
  #highest = 0n;
  #acknowledged = 0;
  #resolved = 0;

  /** Writes that were acknowledged so far. */
  get acknowledged(): number {
    return this.#acknowledged;
  }

  /** Writes without an answer that turned out to be done. */
  get resolved(): number {
    return this.#resolved;
  }

  /** The highest version seen so far: no later write may have it or a lower one. */
  get highest(): bigint {
    return this.#highest;
  }

  /** What is known to be there. */
  content(id: string): Content {
    return this.#records.get(id)?.writing;
  }

  ids(): readonly string[] {
    return [...this.#records.keys()];
  }

  begin(changes: Iterable<readonly [string, Content]>): Attempt {
    const attempt: Attempt = { changes: new Map(changes), floor: this.#highest };
    for (const open of this.#open) {
      for (const id of attempt.changes.keys()) {
        if (open.changes.has(id)) throw new Error(`two attempts at ${id} at a time`);
      }
    }
    this.#open.add(attempt);
    return attempt;
  }

  /** True while the record is part of a write without an answer. */
  isOpen(id: string): boolean {
    for (const attempt of this.#open) if (attempt.changes.has(id)) return true;
    return false;
  }

  /** Gives the record that an open attempt knows as `placeholder` the id that the server gave it. */
  identify(attempt: Attempt, placeholder: string, id: string): void {
    if (!this.#open.has(attempt)) throw new Error("this attempt is not open");
    const changes = new Map(attempt.changes);
    changes.set(id, changes.get(placeholder));
    changes.delete(placeholder);
    attempt.changes = changes;
  }

  /**
   * The server said that the write is done.
   *
   * A version has to be higher than every version acknowledged before the write began; if one is
   * not, {@link compare} says so.
   *
   * @param versions of the records that were written; of deleted ones none is known.
   */
  acknowledge(attempt: Attempt, versions: ReadonlyMap<string, bigint>): void {
    this.#acknowledged += 1;
    this.#close(attempt);
    for (const [id, writing] of attempt.changes) {
      if (writing === undefined) {
        this.#records.delete(id);
        continue;
      }
      const version = versions.get(id);
      if (version === undefined) throw new Error(`the write of ${id} was answered without version`);
      if (version <= attempt.floor) {
        this.#broken.push(`${id} was given version ${version}, after ${attempt.floor} was given`);
      }
      this.#records.set(id, { writing, version });
      if (version > this.#highest) this.#highest = version;
    }
  }

  /** The server said that the write is not done. */
  refuse(attempt: Attempt): void {
    this.#close(attempt);
  }

  /**
   * Compares what is found with what was acknowledged. A write without an answer is from now on
   * known to be done or not, as it was found.
   *
   * @returns what is wrong, one line each.
   */
  compare(found: ReadonlyMap<string, Found>): readonly string[] {
    const wrong = this.#broken;
    this.#broken = [];
    const open = new Set<string>();
    for (const attempt of this.#open) {
      for (const id of attempt.changes.keys()) open.add(id);
      wrong.push(...this.#resolve(attempt, found));
    }
    for (const [id, known] of this.#records) {
      if (open.has(id)) continue;
      const actual = found.get(id);
      if (actual === undefined) {
        wrong.push(`${id}: acknowledged at version ${known.version}, lost`);
      } else if (actual.writing !== known.writing || actual.version !== known.version) {
        wrong.push(
          `${id}: acknowledged writing ${known.writing} at version ${known.version}, ` +
            `found ${actual.writing ?? "other bytes"} at ${actual.version}`,
        );
      }
    }
    for (const [id, actual] of found) {
      if (!open.has(id) && !this.#records.has(id)) {
        wrong.push(`${id}: found writing ${actual.writing} of a record that is not there`);
      }
    }
    return wrong;
  }

  #resolve(attempt: Attempt, found: ReadonlyMap<string, Found>): readonly string[] {
    const changes = [...attempt.changes];
    const states = changes.map(
      ([id, writing]) => `${id}: ${this.content(id)} → ${writing}, found ${found.get(id)?.writing}`,
    );
    const before = changes.every(([id]) => found.get(id)?.writing === this.content(id));
    const after = changes.every(([id, writing]) => found.get(id)?.writing === writing);
    this.#open.delete(attempt);
    if (after && !before) this.#adopt(attempt, found);
    if (before || after) return [];
    return [`a write without an answer is neither done nor undone: ${states.join("; ")}`];
  }

  #adopt(attempt: Attempt, found: ReadonlyMap<string, Found>): void {
    this.#resolved += 1;
    for (const [id, writing] of attempt.changes) {
      const actual = found.get(id);
      if (actual === undefined || writing === undefined) this.#records.delete(id);
      else {
        this.#records.set(id, { writing, version: actual.version });
        if (actual.version > this.#highest) this.#highest = actual.version;
      }
    }
  }

  #close(attempt: Attempt): void {
    if (!this.#open.delete(attempt)) throw new Error("this attempt is not open");
  }
}
