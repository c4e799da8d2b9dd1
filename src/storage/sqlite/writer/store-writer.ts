import type { DatabaseSync, StatementSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import type { Limits } from "../../../lib/limits.ts";
import { openForWriting, setSynchronous } from "../connection.ts";
import { packFailure } from "../failure.ts";
import { readMeta } from "../schema.ts";
import { upgradeSchema } from "../schema-upgrade.ts";
import { isInputOutputError, translateError } from "../translate-error.ts";
import type { Answer } from "./answer-codec.ts";
import { FieldIndexes } from "./field-indexes.ts";
import { LogRoom } from "./log-room.ts";
import { SearchIndexes } from "./search-indexes.ts";
import type { IncomingWrite } from "./write-codec.ts";
import { type StoreCounters, type StoreTables, WriteGroup } from "./write-group.ts";
import { prepareWriteStatements, type WriteStatements } from "./write-statements.ts";

export interface GroupResult {
  readonly answers: readonly Answer[];
  /** What the disk or the file failed with: the store takes no writes until it is recovered. */
  readonly failure: CollectorError | undefined;
}

/** WAL pages from which on they are written back to the database, beside the writes. */
const checkpointPages = 1000n;

/**
 * How many pages may have come since for the writer to write those back itself, which it has to do for the
 * WAL to start over: so many, or this part of a WAL that has grown long, but no more than would be written back
 * elsewhere, as all writes wait for it. Only a WAL of a gigabyte is worth more.
 */
const restPages = 128n;
const restShare = 16n;
const restPagesMax: bigint = checkpointPages;
const hugeWalPages: bigint = 256n * 1024n;

/** The one connection that writes to a store. */
export class StoreWriter implements StoreTables {
  readonly db: DatabaseSync;
  readonly statements: WriteStatements;
  readonly indexes: FieldIndexes;
  readonly search: SearchIndexes;
  readonly #limits: Limits;
  readonly #walSize: StatementSync;
  readonly #checkpoint: StatementSync;
  readonly #room: LogRoom;
  #counters: StoreCounters;
  /** How far the writing back of the WAL is; see {@link tidy}. */
  #writeBack: "none" | "asked" | "done" | "failed" = "none";
  /** Pages of the WAL when that was asked for last. */
  #askedAt = 0n;

  private constructor(db: DatabaseSync, limits: Limits) {
    const meta = readMeta(db);
    setSynchronous(db, meta.durability);
    this.db = db;
    this.#limits = limits;
    this.statements = prepareWriteStatements(db);
    this.indexes = new FieldIndexes(db);
    this.search = new SearchIndexes(db);
    this.#checkpoint = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
    this.#walSize = db.prepare("PRAGMA wal_checkpoint(NOOP)");
    this.#room = new LogRoom(db);
    const { revision, recordCount, horizon, fileCount, fileBytes, tombstones } = meta;
    this.#counters = { revision, recordCount, horizon, fileCount, fileBytes, tombstones };
  }

  /** @throws {CollectorError} */
  static open(path: string, limits: Limits): StoreWriter {
    let db: DatabaseSync | undefined;
    try {
      db = openForWriting(path, "full");
      upgradeSchema(db, path);
      return new StoreWriter(db, limits);
    } catch (error) {
      db?.close();
      throw translateError(error);
    }
  }

  /** The store's revision. */
  get revision(): bigint {
    return this.#counters.revision;
  }

  /**
   * Applies writes in one transaction and waits until it is durable.
   *
   * @param next gives the next write of the group, until it has none.
   */
  runGroup(next: () => IncomingWrite | undefined, diskLow: boolean): GroupResult {
    const { tombstonesMax, requestIdTtlMs } = this.#limits;
    const taken: IncomingWrite[] = [];
    let committing = false;
    try {
      const options = { tombstonesMax, requestIdTtlMs, diskLow };
      const group = new WriteGroup(this, this.#counters, options);
      for (let write = next(); write !== undefined; write = next()) {
        taken.push(write);
        group.add(write);
      }
      if (!group.changed) {
        this.db.exec("ROLLBACK");
        return { answers: group.answers, failure: undefined };
      }
      group.finish();
      committing = true;
      this.db.exec("COMMIT");
      this.#counters = group.counters;
      return { answers: group.answers, failure: undefined };
    } catch (error) {
      return this.#failGroup(taken, error, committing);
    }
  }

  /** Changes tables in a transaction of its own. @throws {CollectorError} */
  transact(change: () => void): void {
    const before = this.#counters;
    try {
      this.db.exec("BEGIN IMMEDIATE");
      change();
      this.db.exec("COMMIT");
    } catch (error) {
      this.#rollBack();
      this.#counters = before;
      throw translateError(error);
    }
  }

  /** As {@link transact}; with all that was committed before, it is on disk afterwards. */
  transactDurably(change: () => void): void {
    const { durability } = readMeta(this.db);
    if (durability === "full") {
      this.transact(change);
      return;
    }
    try {
      setSynchronous(this.db, "full");
      this.transact(change);
    } finally {
      setSynchronous(this.db, durability);
    }
  }

  /** Counts files that a transaction adds, or removes if negative. Belongs into {@link transact}. */
  countFiles(count: bigint, bytes: bigint): void {
    const fileCount = this.#counters.fileCount + count;
    const fileBytes = this.#counters.fileBytes + bytes;
    this.db.prepare("UPDATE meta SET file_count = ?, file_bytes = ?").run(fileCount, fileBytes);
    this.#counters = { ...this.#counters, fileCount, fileBytes };
  }

  /**
   * Looks at the WAL between groups. A long one is written back elsewhere, as that waits for the disk; what
   * has come meanwhile is little, and is written back here, so that the WAL can start over.
   *
   * @returns "ask" if it is to be written back elsewhere, and {@link noteWrittenBack} to be told.
   * @throws what SQLite throws
   */
  tidy(): "nothing" | "did" | "ask" {
    const size = this.#walSize.get();
    const log = size?.["log"];
    const done = size?.["checkpointed"];
    if (typeof log !== "bigint" || typeof done !== "bigint") return "nothing";
    this.#room.note(log);
    if (this.#writeBack === "asked") return "nothing";
    const left = log - done;
    const before = this.#writeBack;
    this.#writeBack = "none";
    if (before === "failed" || (before === "done" && left <= restPagesOf(log))) {
      const after = this.#checkpoint.get()?.["checkpointed"];
      return typeof after === "bigint" && after > done ? "did" : "nothing";
    }
    if (log < this.#askedAt) this.#askedAt = 0n;
    // With a reader in the way there is nothing to be done until it has gone.
    if (left < checkpointPages || log - this.#askedAt < checkpointPages) return "nothing";
    this.#askedAt = log;
    this.#writeBack = "asked";
    return "ask";
  }

  /** The WAL was written back as far as it went when that was asked for, or that has failed. */
  noteWrittenBack(isDone: boolean): void {
    this.#writeBack = isDone ? "done" : "failed";
  }

  /**
   * Puts all that is committed into the database file and empties the WAL, so that nothing of a
   * commit that failed half-way is left in it.
   *
   * @returns false if a reader was in the way.
   */
  settle(): boolean {
    this.#rollBack();
    const row = this.db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
    return row?.["busy"] === 0n;
  }

  close(): void {
    if (!this.db.isOpen) return;
    try {
      this.#rollBack();
      this.db.exec("PRAGMA busy_timeout = 0; PRAGMA wal_checkpoint(TRUNCATE)");
    } finally {
      this.db.close();
    }
  }

  #failGroup(taken: readonly IncomingWrite[], error: unknown, committing: boolean): GroupResult {
    this.#rollBack();
    const cause = translateError(error);
    const failure =
      committing && isInputOutputError(error)
        ? new CollectorError(
            "WRITE_OUTCOME_UNKNOWN",
            "the disk failed while the write was made durable: read it to see whether it is there",
            { cause: cause.cause },
          )
        : cause;
    const packed = packFailure(failure);
    return {
      answers: taken.map(({ call }) => ({ call, failure: packed })),
      failure: cause.reason === "DISK_FULL" ? undefined : failure,
    };
  }

  #rollBack(): void {
    if (this.db.isOpen && this.db.isTransaction) this.db.exec("ROLLBACK");
  }
}

/** How many pages the writer writes back itself, of a WAL that has so many. */
function restPagesOf(log: bigint): bigint {
  const share = log / restShare;
  if (share <= restPages) return restPages;
  return share <= restPagesMax || log > hugeWalPages ? share : restPagesMax;
}
