import type { SQLOutputValue } from "node:sqlite";
import type { StoredRecord } from "../stored-record.ts";
import { malformedRow } from "./connection.ts";
import { parseLabels } from "./labels.ts";

/** What {@link toStoredRecord} reads, in this order, of a table named `record`. */
export const recordColumns = "id, version, created_us, updated_us, labels, data";

/** Checks a row as it leaves the database, so that no caller has to. */
export function toStoredRecord(row: readonly SQLOutputValue[]): StoredRecord {
  const [id, version, createdUs, updatedUs, labels, data] = row;
  if (
    typeof id === "string" &&
    typeof version === "bigint" &&
    typeof createdUs === "bigint" &&
    typeof updatedUs === "bigint" &&
    data instanceof Uint8Array
  ) {
    return { id, version, createdUs, updatedUs, labels: parseLabels(labels), data };
  }
  throw malformedRow();
}
