import type { DatabaseSync } from "node:sqlite";
import { textTableName } from "./search-tables.ts";

/** The large tables that FTS5 keeps behind a contentless table, and their keys. */
const parts = { data: "id", idx: "segid, term", docsize: "id" } as const;

/** A table that a text index has left. */
export interface RetiredTable {
  readonly name: string;
  /** Its columns that name a row. */
  readonly key: string;
}

/**
 * Drops a text table at once; the tables behind it, which hold its entries, stay under other names: to remove
 * them with it would hold writes for as long as it takes to walk through all of them. Not in defensive mode, and
 * in the caller's transaction.
 */
export function retireText(db: DatabaseSync, number: bigint): void {
  const table = textTableName(number);
  for (const part of Object.keys(parts)) {
    db.exec(`ALTER TABLE ${table}_${part} RENAME TO ${retiredName(number, part)}`);
  }
  db.exec(`DROP TABLE ${table}`);
}

/** What {@link retireText} leaves; some may be gone by now. */
export function retiredTables(number: bigint): readonly RetiredTable[] {
  return Object.entries(parts).map(([part, key]) => ({ name: retiredName(number, part), key }));
}

function retiredName(number: bigint, part: string): string {
  return `dropped_${number}_${part}`;
}
