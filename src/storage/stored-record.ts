/** A record as it is stored. */
export interface StoredRecord {
  readonly id: string;
  /** The store's revision at the record's last write. */
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  readonly labels: Readonly<Record<string, string>>;
  /** The bytes exactly as they were written. */
  readonly data: Uint8Array;
}
