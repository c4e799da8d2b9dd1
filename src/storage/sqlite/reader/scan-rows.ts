import type { DatabaseSync } from "node:sqlite";
import { integerOf, textOf } from "../connection.ts";
import { liveSql, readContext } from "../query/condition-sql.ts";
import { countAll } from "../query/count.ts";
import {
  type ListRow,
  rawColumns,
  recordBytes,
  rowsOf,
  toRawRecord,
} from "../query/record-rows.ts";
import { raw, sql } from "../query/sql.ts";
import { type PackedRecords, packRecords, type RawRecord } from "./record-codec.ts";

/** A scan is begun once, and then asked for its next records until there are none. */
export type ScanQuery =
  | { readonly kind: "scanStart"; readonly nowUs: bigint }
  | { readonly kind: "scanNext"; readonly bytesMax: number };

export type ScanResult =
  | {
      readonly kind: "scanStart";
      readonly revision: bigint;
      readonly incarnation: string;
      readonly recordCount: bigint;
    }
  /** No records: that was all. */
  | { readonly kind: "scanNext"; readonly records: PackedRecords };

/** All records of one moment, in a transaction that stays open between the steps. */
export class ScanRows {
  readonly #db: DatabaseSync;
  #rows: Iterator<ListRow> | undefined;

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  run(query: ScanQuery): ScanResult {
    return query.kind === "scanStart" ? this.#start(query.nowUs) : this.#next(query.bytesMax);
  }

  #start(nowUs: bigint): ScanResult {
    const db = this.#db;
    db.exec("BEGIN");
    const meta = db.prepare("SELECT revision, incarnation FROM meta").get();
    const context = readContext(db, nowUs);
    const statement = sql`SELECT ${raw(rawColumns)} FROM record r
      WHERE alive() ${liveSql(context)} ORDER BY r.seq`;
    const prepared = db.prepare(statement.sql);
    prepared.setReturnArrays(true);
    this.#rows = rowsOf(prepared.iterate(...statement.params))[Symbol.iterator]();
    return {
      kind: "scanStart",
      revision: integerOf(meta, "revision"),
      incarnation: textOf(meta, "incarnation"),
      recordCount: countAll(db, context),
    };
  }

  #next(bytesMax: number): ScanResult {
    if (this.#rows === undefined) throw new Error("the scan was not begun");
    const records: RawRecord[] = [];
    for (let bytes = 0; bytes < bytesMax; ) {
      const { value, done } = this.#rows.next();
      if (done === true) break;
      const record = toRawRecord(value);
      bytes += recordBytes(record);
      records.push(record);
    }
    return { kind: "scanNext", records: packRecords(records) };
  }
}
