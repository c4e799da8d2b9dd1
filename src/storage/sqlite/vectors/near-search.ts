import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import { countCap, type NearMatch } from "../../record-query.ts";
import { integerOf, malformedRow, textOf } from "../connection.ts";
import type { SqlFragment } from "../query/sql.ts";
import { comparable, comparableDistance, distanceOf } from "./distance.ts";
import { Candidates, Nearest } from "./nearest.ts";
import { blockRecords, CodedPoint, readBlock } from "./vector-codes.ts";
import {
  blockTableName,
  readVector,
  type VectorIndexRow,
  vectorTableName,
} from "./vector-table.ts";

export interface NearHit {
  readonly seq: bigint;
  /** Cosine: 1 − cos, 0 to 2. L2: Euclidean. Never NaN. */
  readonly distance: number;
}

export interface NearHits {
  /** The nearest first; of equal distance, in order of creation. */
  readonly hits: readonly NearHit[];
  /**
   * How many records match in all: allowed, with a vector, not farther than `distanceMax`. Exact up
   * to {@link countCap}; above, it only says that there are more.
   */
  readonly count: number;
  /** Vectors that were looked at. */
  readonly visited: number;
}

/** Reading one vector by its record takes as long as comparing about this many in codes. */
const readCost = 5;

/** Between two looks at whether the query is to stop. */
const stepsPerCheck = 512;

/**
 * Finds the `k` records whose vectors are nearest to the point, exactly. If few records are allowed,
 * their vectors are looked at one by one; if many, all codes are, and then the vectors that these
 * leave open. Needs a connection with `alive()`, and stops when that throws.
 *
 * The caller's statement has to call `alive()` and to leave out expired records; undefined, for every record, is the
 * fastest. A point without a direction is near to nothing under `cosine`.
 *
 * @param allowed a statement of the records that are: `SELECT … AS seq`; one may come twice
 * @param k at least 1
 * @throws what `alive()` throws; {@link CollectorError} QUERY_INVALID for a point of other dimensions
 */
export function findNear(
  db: DatabaseSync,
  match: NearMatch,
  index: VectorIndexRow,
  allowed: SqlFragment | undefined,
  k: number,
): NearHits {
  const { dimensions, metric } = index.definition;
  if (match.point.length !== dimensions) {
    throw new CollectorError(
      "QUERY_INVALID",
      `the vector has ${match.point.length} dimensions; those of "${index.definition.name}" have ${dimensions}`,
    );
  }
  const point = comparable(metric, match.point);
  if (point === undefined) return { hits: [], count: 0, visited: 0 };
  const search = new NearSearch(db, match, index, k);
  const seqs = allowed && allowedSeqs(db, allowed);
  if (seqs !== undefined && seqs.length * readCost < search.countAtMost()) {
    search.readAll(seqs);
  } else {
    search.compareCodes(point, seqs);
  }
  return search.result();
}

/** The records that are allowed, in order, each once. */
function allowedSeqs(db: DatabaseSync, { sql, params }: SqlFragment): Float64Array {
  // One row for all: a row for each would cost several times as much.
  const row = db.prepare(`SELECT json_group_array(seq) AS seqs FROM (${sql})`).get(...params);
  const seqs: unknown = JSON.parse(textOf(row, "seqs"));
  if (!Array.isArray(seqs)) throw malformedRow();
  const sorted = Float64Array.from(seqs).sort();
  return sorted.filter((seq, at) => seq !== sorted[at - 1]);
}

class NearSearch {
  readonly #db: DatabaseSync;
  readonly #match: NearMatch;
  readonly #index: VectorIndexRow;
  readonly #distanceMax: number;
  readonly #k: number;
  readonly #nearest: Nearest;
  #count = 0;
  #visited = 0;

  constructor(db: DatabaseSync, match: NearMatch, index: VectorIndexRow, k: number) {
    this.#db = db;
    this.#match = match;
    this.#index = index;
    this.#distanceMax = match.distanceMax ?? Number.MAX_VALUE;
    this.#k = k;
    this.#nearest = new Nearest(k);
  }

  result(): NearHits {
    return {
      hits: this.#nearest.sorted().map(({ seq, distance }) => ({ seq: BigInt(seq), distance })),
      count: this.#count,
      visited: this.#visited,
    };
  }

  /** How many vectors there are, at most and roughly. */
  countAtMost(): number {
    const blocks = blockTableName(this.#index.number);
    const row = this.#db
      .prepare(`SELECT coalesce(max(block) - min(block) + 1, 0) AS count FROM ${blocks}`)
      .get();
    return Number(integerOf(row, "count") * blockRecords);
  }

  /** Looks at the vectors of these records, in full. */
  readAll(seqs: Iterable<number>): void {
    const distanceTo = this.#distanceReader();
    for (const seq of seqs) {
      const distance = distanceTo(seq);
      if (distance > this.#distanceMax) continue;
      this.#count++;
      this.#nearest.offer(seq, distance);
    }
  }

  /**
   * Looks at all codes, and then in full at the vectors that may be among the nearest or that may or
   * may not be near enough to count.
   *
   * @param seqs the only records that count, in order; undefined: all
   */
  compareCodes(point: Float64Array, seqs: Float64Array | undefined): void {
    const { definition, number } = this.#index;
    const limit = comparableDistance(definition.metric, this.#distanceMax);
    const coded = new CodedPoint(point);
    const distances = new Float64Array(Number(blockRecords));
    const errors = new Float64Array(Number(blockRecords));
    const candidates = new Candidates(this.#k);
    const unsure: number[] = [];
    const chosen = seqs && new ChosenPlaces(seqs);
    const rows = this.#db
      .prepare(`SELECT block, codes FROM ${blockTableName(number)} WHERE alive() ORDER BY block`)
      .iterate();
    for (const { block: blockNumber, codes } of rows) {
      if (typeof blockNumber !== "bigint" || !(codes instanceof Uint8Array)) throw malformedRow();
      const first = Number(blockNumber * blockRecords);
      if (chosen?.moveTo(first) === false) continue;
      const block = readBlock(codes, definition.dimensions);
      if (block === undefined) throw malformedRow();
      coded.measure(block, distances, errors);
      this.#visited += block.count;
      for (let position = 0; position < block.count; position++) {
        const place = block.integers[4 * position] ?? 0;
        if (chosen?.has(place) === false) continue;
        const distance = distances[position] ?? 0;
        const error = errors[position] ?? 0;
        if (distance - error > limit) continue;
        if (distance + error <= limit) this.#count++;
        else unsure.push(first + place);
        candidates.offer(first + place, distance - error, distance + error);
      }
    }
    this.#lookAt(candidates);
    if (this.#count <= countCap) this.#countUnsure(unsure);
  }

  #lookAt(candidates: Candidates): void {
    const { metric } = this.#index.definition;
    const distanceTo = this.#distanceReader();
    for (const { seq, least } of candidates.sorted()) {
      // In the nearest first order of what is possible: the rest is farther than all that is kept.
      if (least > comparableDistance(metric, this.#nearest.reach) * (1 + 1e-9)) return;
      const distance = distanceTo(seq);
      if (distance <= this.#distanceMax) this.#nearest.offer(seq, distance);
    }
  }

  #countUnsure(seqs: readonly number[]): void {
    const distanceTo = this.#distanceReader();
    for (const seq of seqs) {
      if (this.#count > countCap) return;
      if (distanceTo(seq) <= this.#distanceMax) this.#count++;
    }
  }

  /** Reads the exact distance of a record; Infinity if it has no vector. */
  #distanceReader(): (seq: number) => number {
    const { definition, number } = this.#index;
    const get = this.#db.prepare(`SELECT value FROM ${vectorTableName(number)} WHERE seq = ?`);
    const alive = this.#db.prepare("SELECT alive()");
    let steps = 0;
    return (seq) => {
      steps++;
      if (steps % stepsPerCheck === 0) alive.get();
      const value = get.get(BigInt(seq))?.["value"];
      if (value === undefined) return Number.POSITIVE_INFINITY;
      const vector = value instanceof Uint8Array ? readVector(value) : undefined;
      if (vector?.length !== definition.dimensions) throw malformedRow();
      this.#visited++;
      return distanceOf(definition.metric, vector, this.#match.point);
    };
  }
}

/** The places of some records in one block after the other. */
class ChosenPlaces {
  /** In order, so each is passed once. */
  readonly #seqs: Float64Array;
  readonly #places: Uint8Array = new Uint8Array(Number(blockRecords));
  #at = 0;

  constructor(seqs: Float64Array) {
    this.#seqs = seqs;
  }

  /** Goes on to the block that begins with this record; false if none of them is in it. */
  moveTo(first: number): boolean {
    this.#places.fill(0);
    while (this.#next < first) this.#at++;
    const end = first + this.#places.length;
    let found = false;
    while (this.#next < end) {
      this.#places[this.#next - first] = 1;
      this.#at++;
      found = true;
    }
    return found;
  }

  has(place: number): boolean {
    return this.#places[place] === 1;
  }

  get #next(): number {
    return this.#seqs[this.#at] ?? Number.POSITIVE_INFINITY;
  }
}
