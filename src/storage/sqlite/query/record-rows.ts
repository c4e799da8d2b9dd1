import type { SQLOutputValue } from "node:sqlite";
import { malformedRow } from "../connection.ts";
import type { RawRecord } from "../reader/record-codec.ts";

/** A row of {@link rawColumns}, then of what else a query selects. */
export type ListRow = readonly SQLOutputValue[];

/** What {@link toRawRecord} reads, of the table `record` as `r`. */
export const rawColumns = "r.seq, r.id, r.version, r.created_us, r.updated_us, r.labels, r.data";
export const rawColumnCount = 7;

/** What a record costs in a page besides its own bytes, about. */
const recordOverheadBytes = 128;

/** Rows of a statement, as arrays. */
export function rowsOf(rows: Iterable<unknown>): Iterable<ListRow> {
  // The statement was told to answer arrays, which its type does not say.
  return rows as Iterable<ListRow>;
}

/** Checks a row as it leaves the database. */
export function toRawRecord(row: ListRow): RawRecord {
  const [, id, version, createdUs, updatedUs, labels, data] = row;
  if (
    typeof id === "string" &&
    typeof version === "bigint" &&
    typeof createdUs === "bigint" &&
    typeof updatedUs === "bigint" &&
    typeof labels === "string" &&
    data instanceof Uint8Array
  ) {
    return { id, version, createdUs, updatedUs, labels, data };
  }
  throw malformedRow();
}

export function seqOf(row: ListRow): bigint {
  const [seq] = row;
  if (typeof seq !== "bigint") throw malformedRow();
  return seq;
}

/** What a record takes of a page, in bytes. */
export function recordBytes({ data, labels, id }: RawRecord): number {
  return data.byteLength + labels.length + id.length + recordOverheadBytes;
}

export interface PageOfRows {
  readonly records: readonly RawRecord[];
  readonly last: ListRow | undefined;
  readonly more: boolean;
}

/** Takes rows up to a number and a size, whichever comes first, but at least one. */
export function takePage(rows: Iterable<ListRow>, limit: number, bytesMax: number): PageOfRows {
  const records: RawRecord[] = [];
  let last: ListRow | undefined;
  let bytes = 0;
  for (const row of rows) {
    const record = toRawRecord(row);
    bytes += recordBytes(record);
    if (records.length === limit || (bytes > bytesMax && records.length > 0)) {
      return { records, last, more: true };
    }
    records.push(record);
    last = row;
  }
  return { records, last, more: false };
}
