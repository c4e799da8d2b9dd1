import type { StoreChange } from "../../store-copies.ts";
import { type PackedRecords, packRecords, type RawRecord, unpackRecords } from "./record-codec.ts";

/** A record with what a copy of it needs besides. */
export interface WrittenRow {
  readonly raw: RawRecord;
  readonly createdRevision: bigint;
  /** One per vector index that serves; undefined if the record has none in it. */
  readonly vectors: readonly (Float32Array | undefined)[];
}

/** A delete. */
export interface Burial {
  readonly id: string;
  readonly revision: bigint;
  readonly atUs: bigint;
}

/** Changes on their way out of a process: records and deletes each by revision. */
export interface PackedChanges {
  readonly records: PackedRecords;
  /** One per record. */
  readonly createdRevisions: readonly bigint[];
  /** Lengths of the vectors of each record, 0 for none, then of the next record. */
  readonly vectorLengths: readonly number[];
  /** All vectors, one after the other. */
  readonly floats: Float32Array;
  /** Id, revision and time of each. */
  readonly buried: readonly (string | bigint)[];
}

export function packChanges(changes: {
  readonly written: readonly WrittenRow[];
  readonly buried: readonly Burial[];
}): PackedChanges {
  const { written, buried } = changes;
  const vectors = written.flatMap((row) => row.vectors);
  const vectorLengths = vectors.map((vector) => vector?.length ?? 0);
  const floats = new Float32Array(vectorLengths.reduce((sum, length) => sum + length, 0));
  let offset = 0;
  for (const vector of vectors) {
    if (vector === undefined) continue;
    floats.set(vector, offset);
    offset += vector.length;
  }
  return {
    records: packRecords(written.map(({ raw }) => raw)),
    createdRevisions: written.map(({ createdRevision }) => createdRevision),
    vectorLengths,
    floats,
    buried: buried.flatMap(({ id, revision, atUs }) => [id, revision, atUs]),
  };
}

/**
 * Changes in order of revision.
 *
 * @param names of the vector indexes, in the order of each record's vectors.
 */
export function unpackChanges(packed: PackedChanges, names: readonly string[]): StoreChange[] {
  const { records, createdRevisions, vectorLengths, floats, buried } = packed;
  const changes: StoreChange[] = [];
  let place = 0;
  let offset = 0;
  for (const [position, record] of unpackRecords(records).entries()) {
    const vectors: Record<string, Float32Array> = {};
    for (const name of names) {
      const length = vectorLengths[place++] ?? 0;
      if (length > 0) vectors[name] = floats.subarray(offset, offset + length);
      offset += length;
    }
    const { version: revision, ...rest } = record;
    const createdRevision = createdRevisions[position] ?? 0n;
    changes.push({ kind: "written", ...rest, revision, createdRevision, vectors });
  }
  for (let at = 0; at < buried.length; at += 3) {
    changes.push({
      kind: "deleted",
      // As they were packed.
      id: buried[at] as string,
      revision: buried[at + 1] as bigint,
      atUs: buried[at + 2] as bigint,
    });
  }
  return changes.sort((a, b) => (a.revision < b.revision ? -1 : 1));
}
