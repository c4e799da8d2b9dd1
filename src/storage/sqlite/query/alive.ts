import type { DatabaseSync } from "node:sqlite";

/** Ends a count whose time is over; what was counted so far is known. */
class CountStopped extends Error {}

/** How many rows pass between two looks at the clock while counting. */
const rowsPerLook = 16;

/**
 * What runs inside of a connection's statements: it stops them, and counts the rows they look at.
 *
 * `alive()` is true, or throws once the query is to stop. It stands in every WHERE clause that can pass
 * over many rows before it finds one.
 */
export class Alive {
  readonly #check: () => void;
  /** Rows that the query looked at so far. */
  rowsVisited = 0;
  #tallied = 0;
  #tallyMax = 0;
  #countUntilMs = Number.POSITIVE_INFINITY;

  constructor(check: () => void) {
    this.#check = check;
  }

  visit(): number {
    this.rowsVisited++;
    this.#check();
    if (this.rowsVisited % rowsPerLook === 0 && performance.now() > this.#countUntilMs) {
      throw new CountStopped();
    }
    return 1;
  }

  tally(): number {
    this.#tallied++;
    if (this.#tallied > this.#tallyMax) throw new CountStopped();
    return 1;
  }

  /**
   * Counts the rows for which a statement calls `tally()`.
   *
   * @param run runs the statement.
   * @returns `capped` if there are more than `max`, or the time was over.
   */
  count(
    limits: { readonly max: number; readonly ms: number },
    run: () => void,
  ): { readonly count: number; readonly capped: boolean } {
    this.#tallied = 0;
    this.#tallyMax = limits.max;
    this.#countUntilMs = performance.now() + limits.ms;
    try {
      run();
      return { count: this.#tallied, capped: false };
    } catch (error) {
      if (!(error instanceof CountStopped)) throw error;
      return { count: Math.min(this.#tallied, limits.max), capped: true };
    } finally {
      this.#countUntilMs = Number.POSITIVE_INFINITY;
    }
  }
}

const aliveByConnection = new WeakMap<DatabaseSync, Alive>();

/** @param check throws once the query that runs is to stop. */
export function installAlive(db: DatabaseSync, check: () => void): void {
  const alive = new Alive(check);
  aliveByConnection.set(db, alive);
  db.function("alive", () => alive.visit());
  db.function("tally", () => alive.tally());
}

export function aliveOf(db: DatabaseSync): Alive {
  const alive = aliveByConnection.get(db);
  if (alive === undefined) throw new Error("the connection has no alive()");
  return alive;
}
