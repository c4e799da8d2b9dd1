import type { StoredRecord } from "../../stored-record.ts";
import { parseLabels } from "../labels.ts";

/** Records on their way out of a reader: plain values in one list, all bytes in one buffer. */
export interface PackedRecords {
  readonly values: readonly (string | bigint | number)[];
  readonly bytes: Uint8Array<ArrayBuffer>;
}

/** A record whose labels are still JSON. */
export interface RawRecord {
  readonly id: string;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  readonly labels: string;
  readonly data: Uint8Array;
}

export function packRecords(records: readonly RawRecord[]): PackedRecords {
  let total = 0;
  for (const { data } of records) total += data.byteLength;
  const bytes = new Uint8Array(total);
  const values: (string | bigint | number)[] = [];
  let offset = 0;
  for (const { id, version, createdUs, updatedUs, labels, data } of records) {
    values.push(id, version, createdUs, updatedUs, labels, data.byteLength);
    bytes.set(data, offset);
    offset += data.byteLength;
  }
  return { values, bytes };
}

export function unpackRecords({ values, bytes }: PackedRecords): StoredRecord[] {
  const records: StoredRecord[] = [];
  let offset = 0;
  for (let at = 0; at < values.length; at += 6) {
    const length = values[at + 5] as number;
    records.push({
      id: values[at] as string,
      version: values[at + 1] as bigint,
      createdUs: values[at + 2] as bigint,
      updatedUs: values[at + 3] as bigint,
      labels: parseLabels(values[at + 4]),
      data: bytes.subarray(offset, offset + length),
    });
    offset += length;
  }
  return records;
}
