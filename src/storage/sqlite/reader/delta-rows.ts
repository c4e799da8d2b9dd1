import type { DatabaseSync, SQLOutputValue, StatementSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import type { StoredFile } from "../../store-files.ts";
import { integerOf, malformedRow, textOf } from "../connection.ts";
import { readContext } from "../query/condition-sql.ts";
import { countAll } from "../query/count.ts";
import {
  type ListRow,
  rawColumns,
  recordBytes,
  rowsOf,
  seqOf,
  toRawRecord,
} from "../query/record-rows.ts";
import { readSchemaVersion } from "../schema.ts";
import { readSearchIndexes } from "../search-tables.ts";
import { readVector, vectorTableName } from "../vectors/vector-table.ts";
import { fileColumns, toStoredFile } from "../writer/file-tasks.ts";
import { type Burial, type PackedChanges, packChanges, type WrittenRow } from "./delta-codec.ts";

/**
 * What has changed is asked for once, then for the attached files until there are none, then for the changes
 * until there are none.
 */
export type DeltaQuery =
  | {
      readonly kind: "deltaStart";
      readonly revision: bigint;
      readonly nowUs: bigint;
      readonly files: boolean;
    }
  | { readonly kind: "deltaFiles"; readonly limit: number }
  | { readonly kind: "deltaNext"; readonly bytesMax: number };

export type DeltaResult =
  | {
      readonly kind: "deltaStart";
      readonly format: string;
      readonly revision: bigint;
      readonly incarnation: string;
      readonly recordCount: bigint;
      /** The vector indexes that serve, in the order of each record's vectors. */
      readonly vectors: readonly string[];
    }
  | { readonly kind: "deltaFiles"; readonly files: readonly StoredFile[] }
  | { readonly kind: "deltaNext"; readonly changes: PackedChanges };

/** What a delete takes of a page, in bytes, besides its id. */
const burialBytes = 64;

const nothingLeft: Iterator<ListRow> = [][Symbol.iterator]();

/**
 * What has changed after a revision, as of one moment, in a transaction that stays open between the steps.
 * A record whose time has come is given as it was written: it expires wherever it comes to.
 */
export class DeltaRows {
  readonly #db: DatabaseSync;
  #files: Iterator<Record<string, SQLOutputValue>> | undefined;
  #written: Iterator<ListRow> = nothingLeft;
  #buried: Iterator<ListRow> = nothingLeft;
  #nextWritten: WrittenRow | undefined;
  #nextBuried: Burial | undefined;
  #vectorsOf: readonly StatementSync[] = [];

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  /** @throws {CollectorError} HISTORY_GONE */
  run(query: DeltaQuery): DeltaResult {
    switch (query.kind) {
      case "deltaStart":
        return this.#start(query);
      case "deltaFiles":
        return this.#nextFiles(query.limit);
      case "deltaNext":
        return { kind: "deltaNext", changes: packChanges(this.#take(query.bytesMax)) };
    }
  }

  #start({ revision: since, nowUs, files }: DeltaQuery & { kind: "deltaStart" }): DeltaResult {
    const db = this.#db;
    db.exec("BEGIN");
    const meta = db.prepare("SELECT revision, incarnation, horizon FROM meta").get();
    const revision = integerOf(meta, "revision");
    // Deletes at the horizon are forgotten: whoever has come as far as that has seen them.
    if (since < integerOf(meta, "horizon") || since > revision) throw historyGone();
    const vectors = readSearchIndexes(db).vectors.filter(({ state }) => state === "ready");
    this.#vectorsOf = vectors.map(({ number }) =>
      db.prepare(`SELECT value FROM ${vectorTableName(number)} WHERE seq = ?`),
    );
    this.#written = this.#rows(
      `SELECT ${rawColumns} FROM record r WHERE r.version > ? AND alive() ORDER BY r.version`,
      since,
    );
    this.#buried = this.#rows(
      "SELECT id, revision, at_us FROM tombstone WHERE revision > ? AND alive() ORDER BY revision",
      since,
    );
    if (files) {
      const statement = db.prepare(`
        SELECT ${fileColumns} FROM file
        WHERE alive() AND (owner = '' OR EXISTS (
          SELECT 1 FROM record WHERE id = owner AND (expires_us IS NULL OR expires_us > ?)
        ))
      `);
      this.#files = statement.iterate(nowUs)[Symbol.iterator]();
    }
    this.#nextWritten = this.#readWritten();
    this.#nextBuried = this.#readBuried();
    return {
      kind: "deltaStart",
      format: `sqlite/${readSchemaVersion(db)}`,
      revision,
      incarnation: textOf(meta, "incarnation"),
      recordCount: countAll(db, readContext(db, nowUs)),
      vectors: vectors.map(({ definition }) => definition.name),
    };
  }

  #rows(text: string, since: bigint): Iterator<ListRow> {
    const statement = this.#db.prepare(text);
    statement.setReturnArrays(true);
    return rowsOf(statement.iterate(since))[Symbol.iterator]();
  }

  #nextFiles(limit: number): DeltaResult {
    const files: StoredFile[] = [];
    while (files.length < limit) {
      const next = this.#files?.next();
      if (next === undefined || next.done === true) break;
      files.push(toStoredFile(next.value));
    }
    return { kind: "deltaFiles", files };
  }

  /** The next of both by their revisions, as many as there is room for, but at least one. */
  #take(bytesMax: number): { readonly written: WrittenRow[]; readonly buried: Burial[] } {
    const written: WrittenRow[] = [];
    const buried: Burial[] = [];
    for (let bytes = 0; bytes < bytesMax; ) {
      const record = this.#nextWritten;
      const burial = this.#nextBuried;
      if (burial !== undefined && !(record !== undefined && record.raw.version < burial.revision)) {
        buried.push(burial);
        bytes += burial.id.length + burialBytes;
        this.#nextBuried = this.#readBuried();
      } else if (record !== undefined) {
        written.push(record);
        bytes += recordBytes(record.raw);
        for (const vector of record.vectors) bytes += vector?.byteLength ?? 0;
        this.#nextWritten = this.#readWritten();
      } else {
        break;
      }
    }
    return { written, buried };
  }

  #readWritten(): WrittenRow | undefined {
    const { value, done } = this.#written.next();
    if (done === true) return undefined;
    const seq = seqOf(value);
    const vectors = this.#vectorsOf.map((statement) => {
      const vector = statement.get(seq)?.["value"];
      return vector instanceof Uint8Array ? readVector(vector) : undefined;
    });
    return { raw: toRawRecord(value), createdRevision: seq, vectors };
  }

  #readBuried(): Burial | undefined {
    const { value, done } = this.#buried.next();
    if (done === true) return undefined;
    const [id, revision, atUs] = value;
    if (typeof id !== "string" || typeof revision !== "bigint" || typeof atUs !== "bigint") {
      throw malformedRow();
    }
    return { id, revision, atUs };
  }
}

function historyGone(): CollectorError {
  return new CollectorError(
    "HISTORY_GONE",
    "what was deleted since then is not known any more; start over from a full copy",
  );
}
