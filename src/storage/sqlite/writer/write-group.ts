import type { DatabaseSync } from "node:sqlite";
import type { CollectorError } from "../../../errors.ts";
import { integerOf, type Row, textOf } from "../connection.ts";
import { packFailure } from "../failure.ts";
import { diskFull, isFatal, translateError } from "../translate-error.ts";
import type { Answer } from "./answer-codec.ts";
import type { FieldIndexes } from "./field-indexes.ts";
import { findAnswer, rememberAnswer } from "./request-log.ts";
import type { IncomingWrite } from "./write-codec.ts";
import {
  type PlannedStep,
  planWrite,
  type RecordState,
  recordExists,
  type WritePlan,
} from "./write-plan.ts";
import type { WriteStatements } from "./write-statements.ts";

/** The store's counters, kept in its `meta` row. */
export interface StoreCounters {
  readonly revision: bigint;
  readonly recordCount: bigint;
  readonly horizon: bigint;
  readonly tombstones: number;
}

export interface StoreTables {
  readonly db: DatabaseSync;
  readonly statements: WriteStatements;
  readonly indexes: FieldIndexes;
}

export interface GroupOptions {
  readonly tombstonesMax: number;
  readonly requestIdTtlMs: number;
  /** True if the disk's reserve is reached: only deletes are taken. */
  readonly diskLow: boolean;
}

/**
 * How much of the full-text index is merged with each group: about as much as a group adds, times the
 * levels of the index, so that merging keeps up and no group has to do a lot of it at once.
 */
const mergePagesMin = 8;
const charsPerMergedPage = 512;

interface PendingText {
  /** True if the full-text table has no row of the record yet. */
  readonly fresh: boolean;
  /** Undefined if the record is deleted. */
  readonly texts: readonly string[] | undefined;
}

/**
 * Writes that share one transaction and one wait for the disk.
 *
 * A write is planned in full before anything of it is done, so that a refused one leaves nothing
 * behind and its neighbours need no savepoints. One whose statements fail nevertheless is taken out
 * by starting the transaction over without it.
 */
export class WriteGroup {
  readonly #tables: StoreTables;
  readonly #options: GroupOptions;
  readonly #before: StoreCounters;
  readonly #writes: IncomingWrite[] = [];
  readonly #applied: WriteInGroup[] = [];
  readonly #answers: Answer[] = [];
  /** Full-text rows are written at the end, in order of `seq`: FTS5 writes a segment out of order. */
  readonly #texts = new Map<bigint, PendingText>();
  #counters: StoreCounters;
  #changed = false;
  #requestsUs: bigint | undefined;

  constructor(tables: StoreTables, before: StoreCounters, options: GroupOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#before = before;
    this.#counters = before;
    tables.db.exec("BEGIN IMMEDIATE");
  }

  /** All writes that were added. */
  get writes(): readonly IncomingWrite[] {
    return this.#writes;
  }

  /** The counters as they are once the group is committed. */
  get counters(): StoreCounters {
    return this.#counters;
  }

  /** False if every write was refused or does nothing: there is nothing to commit. */
  get changed(): boolean {
    return this.#changed;
  }

  /** One per write; not to be told before the group is committed. */
  get answers(): readonly Answer[] {
    return this.#answers;
  }

  /** @throws what SQLite throws, if it is the disk or the file that failed. */
  add(write: IncomingWrite): void {
    this.#writes.push(write);
    const plan = this.#plan(write);
    if (plan === undefined) return;
    try {
      this.#execute({ write, plan });
    } catch (error) {
      if (isFatal(error)) throw error;
      this.#startOver();
      this.#refuse(write, translateError(error));
    }
  }

  /** Does what is left to do before the commit. @throws what SQLite throws */
  finish(): void {
    if (!this.#changed) return;
    const { statements } = this.#tables;
    this.#writeTexts();
    this.#trimTombstones();
    if (this.#requestsUs !== undefined) {
      const ttlUs = BigInt(this.#options.requestIdTtlMs) * 1000n;
      statements.trimRequests.run(this.#requestsUs - ttlUs);
    }
    const { revision, recordCount, horizon } = this.#counters;
    statements.saveMeta.run(revision, recordCount, horizon);
  }

  /** Undefined if the write is answered already. */
  #plan(write: IncomingWrite): WritePlan | undefined {
    try {
      const grows = write.steps.some((step) => step.kind !== "delete");
      const ttlUs = BigInt(this.#options.requestIdTtlMs) * 1000n;
      const earlier = findAnswer(this.#tables.statements, write, ttlUs);
      if (earlier !== undefined) {
        this.#answers.push(earlier);
        return undefined;
      }
      if (grows && this.#options.diskLow) throw diskFull();
      return planWrite(write, this.#counters.revision, (id) => this.#find(write, id));
    } catch (error) {
      if (isFatal(error)) throw error;
      this.#refuse(write, translateError(error));
      return undefined;
    }
  }

  #find(write: IncomingWrite, id: string): RecordState | undefined {
    // A lone insert finds out by itself, at no cost.
    if (isLoneCreate(write)) return undefined;
    const row = this.#tables.statements.find.get(id);
    return row === undefined ? undefined : toRecordState(row);
  }

  #execute(item: WriteInGroup): void {
    const { write, plan } = item;
    let recordCount = this.#counters.recordCount;
    let tombstones = this.#counters.tombstones;
    for (const planned of plan.steps) {
      switch (planned.action) {
        case "insert":
          if (!this.#insert(planned)) {
            this.#refuse(write, recordExists(0, planned.step.id));
            return;
          }
          recordCount++;
          if (tombstones > 0) {
            tombstones -= Number(
              this.#tables.statements.removeTombstone.run(planned.step.id).changes,
            );
          }
          break;
        case "replace":
          this.#replace(planned);
          break;
        case "relabel": {
          const { seq, version, updatedUs, labels } = planned.after;
          this.#tables.statements.relabel.run(seq, version, updatedUs, labels);
          break;
        }
        case "derive":
          this.#derive(planned);
          break;
        case "remove":
          this.#remove(planned, write.nowUs);
          recordCount--;
          tombstones++;
          break;
        case "none":
          continue;
      }
      this.#changed = true;
    }
    if (write.request !== undefined) {
      rememberAnswer(this.#tables.statements, write, plan.revision, plan.outcomes);
      this.#requestsUs = write.nowUs;
      this.#changed = true;
    }
    this.#counters = { ...this.#counters, revision: plan.revision, recordCount, tombstones };
    this.#applied.push(item);
    const { revision, outcomes } = plan;
    this.#answers.push({ call: write.call, revision, replayed: false, outcomes });
  }

  #insert({ step, after }: PlannedStep & { action: "insert" }): boolean {
    const { statements, indexes } = this.#tables;
    const { id, document, data, texts } = step;
    const { seq, createdUs, labels } = after;
    if (statements.insert.run(seq, id, createdUs, labels, document, data).changes === 0n) {
      return false;
    }
    if (!indexes.empty) indexes.insert(seq, document);
    this.#setTexts(seq, texts, true);
    return true;
  }

  #replace({ step, after }: PlannedStep & { action: "replace" }): void {
    const { statements, indexes } = this.#tables;
    const { document, data, texts } = step;
    const { seq, version, updatedUs, labels } = after;
    if (!indexes.empty) indexes.replace(seq, this.#document(seq), document);
    statements.replace.run(seq, version, updatedUs, labels, document, data);
    this.#setTexts(seq, texts, false);
  }

  #derive({ seq, document, texts }: PlannedStep & { action: "derive" }): void {
    const { statements, indexes } = this.#tables;
    if (!indexes.empty) indexes.replace(seq, this.#document(seq), document);
    statements.derive.run(seq, document);
    this.#setTexts(seq, texts, false);
  }

  #remove({ id, seq, revision }: PlannedStep & { action: "remove" }, nowUs: bigint): void {
    const { statements, indexes } = this.#tables;
    if (!indexes.empty) indexes.remove(seq, this.#document(seq));
    statements.remove.run(seq);
    statements.insertTombstone.run(revision, id, nowUs);
    this.#setTexts(seq, undefined, false);
  }

  #document(seq: bigint): string {
    return textOf(this.#tables.statements.document.get(seq), "document");
  }

  #setTexts(seq: bigint, texts: readonly string[] | undefined, fresh: boolean): void {
    if (this.#tables.statements.text === undefined) return;
    const known = this.#texts.get(seq);
    this.#texts.set(seq, { fresh: known?.fresh ?? fresh, texts });
  }

  #writeTexts(): void {
    const { text } = this.#tables.statements;
    if (text === undefined || this.#texts.size === 0) return;
    const rows = [...this.#texts].sort(([a], [b]) => (a < b ? -1 : 1));
    let chars = 0;
    for (const [seq, { fresh, texts }] of rows) {
      if (!fresh) text.remove.run(seq);
      if (texts?.some((item) => item !== "")) text.insert.run(seq, ...texts);
      for (const item of texts ?? []) chars += item.length;
    }
    text.merge.run(BigInt(mergePagesMin + Math.ceil(chars / charsPerMergedPage)));
  }

  #trimTombstones(): void {
    const { statements } = this.#tables;
    const excess = this.#counters.tombstones - this.#options.tombstonesMax;
    if (excess <= 0) return;
    const row = statements.nthTombstone.get(BigInt(excess - 1));
    const horizon = integerOf(row, "revision");
    statements.trimTombstones.run(horizon);
    this.#counters = { ...this.#counters, horizon, tombstones: this.#options.tombstonesMax };
  }

  #startOver(): void {
    const { db } = this.#tables;
    if (db.isTransaction) db.exec("ROLLBACK");
    db.exec("BEGIN IMMEDIATE");
    this.#counters = this.#before;
    this.#texts.clear();
    this.#changed = false;
    this.#requestsUs = undefined;
    const again = this.#applied.splice(0);
    const gone = new Set(again.map(({ write }) => write.call));
    const kept = this.#answers.filter((answer) => !gone.has(answer.call));
    this.#answers.splice(0, this.#answers.length, ...kept);
    for (const item of again) this.#execute(item);
  }

  #refuse(write: IncomingWrite, error: CollectorError): void {
    this.#answers.push({ call: write.call, failure: packFailure(error) });
  }
}

interface WriteInGroup {
  readonly write: IncomingWrite;
  readonly plan: WritePlan;
}

function isLoneCreate(write: IncomingWrite): boolean {
  return write.steps.length === 1 && write.steps[0]?.kind === "create";
}

function toRecordState(row: Row): RecordState {
  return {
    seq: integerOf(row, "seq"),
    version: integerOf(row, "version"),
    createdUs: integerOf(row, "createdUs"),
    updatedUs: integerOf(row, "updatedUs"),
    labels: textOf(row, "labels"),
  };
}
