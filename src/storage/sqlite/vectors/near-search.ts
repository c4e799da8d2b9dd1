import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import type { NearMatch } from "../../record-query.ts";
import type { VectorIndexDefinition } from "../../store-layout.ts";

/** A vector index that is ready: the number of its table and what it holds. */
export interface VectorIndexRow {
  readonly number: bigint;
  readonly definition: VectorIndexDefinition;
}

/** A condition on the records: SQL over `record` under the alias `r`, and the values of its `?`. */
export interface AllowedRecords {
  readonly sql: string;
  readonly values: readonly SQLInputValue[];
}

export interface NearHit {
  readonly seq: bigint;
  /** Cosine: 1 − cos, 0 to 2. L2: Euclidean. Never NaN. */
  readonly distance: number;
}

export interface NearHits {
  /** The nearest first; of equal distance, in order of creation. */
  readonly hits: readonly NearHit[];
  /** How many records match in all: allowed, with a vector, not farther than `distanceMax`. */
  readonly count: number;
  /** Vectors that were looked at. */
  readonly visited: number;
}

/**
 * Finds the `k` records whose vectors are nearest to the point: exactly, by looking at the vector of
 * every record that is allowed. Needs a connection with `alive()`, and stops when that throws.
 *
 * The caller's condition has to leave out expired records. Its SQL is used twice at most.
 *
 * @param allowed undefined: every record.
 * @throws what `alive()` throws; {@link CollectorError} VECTORS_UNAVAILABLE
 */
export function findNear(
  _db: DatabaseSync,
  _match: NearMatch,
  _index: VectorIndexRow,
  _allowed: AllowedRecords | undefined,
  _k: number,
): NearHits {
  throw new Error("not built yet");
}
