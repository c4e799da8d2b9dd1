import type { DatabaseSync } from "node:sqlite";
import type { CollectorError } from "../../../errors.ts";
import { integerOf, type Row, textOf } from "../connection.ts";
import { packFailure } from "../failure.ts";
import { diskFull, isFatal, translateError } from "../translate-error.ts";
import type { Answer, PackedOutcome } from "./answer-codec.ts";
import type { FieldIndexes } from "./field-indexes.ts";
import { findAnswer, rememberAnswer } from "./request-log.ts";
import type { SearchIndexes } from "./search-indexes.ts";
import type { IncomingWrite, StepKind } from "./write-codec.ts";
import {
  type ContentStep,
  hasExpired,
  missing,
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
  readonly fileCount: bigint;
  readonly fileBytes: bigint;
  readonly tombstones: number;
}

export interface StoreTables {
  readonly db: DatabaseSync;
  readonly statements: WriteStatements;
  readonly indexes: FieldIndexes;
  readonly search: SearchIndexes;
}

/** Steps that are taken even if the disk is full, as they make room. */
const removals: ReadonlySet<StepKind> = new Set(["delete", "expire", "replayDelete"]);

export interface GroupOptions {
  readonly tombstonesMax: number;
  readonly requestIdTtlMs: number;
  /** True if the disk's reserve is reached: only deletes are taken. */
  readonly diskLow: boolean;
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
  #counters: { -readonly [Name in keyof StoreCounters]: StoreCounters[Name] };
  #changed = false;
  #requestsUs: bigint | undefined;

  constructor(tables: StoreTables, before: StoreCounters, options: GroupOptions) {
    this.#tables = tables;
    this.#options = options;
    this.#before = before;
    this.#counters = { ...before };
    tables.search.discard();
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
    const { statements, search } = this.#tables;
    search.flush();
    this.#trimTombstones();
    if (this.#requestsUs !== undefined) {
      const ttlUs = BigInt(this.#options.requestIdTtlMs) * 1000n;
      statements.trimRequests.run(this.#requestsUs - ttlUs);
    }
    const { revision, recordCount, horizon, fileCount, fileBytes } = this.#counters;
    statements.saveMeta.run(revision, recordCount, horizon, fileCount, fileBytes);
  }

  /** Undefined if the write is answered already. */
  #plan(write: IncomingWrite): WritePlan | undefined {
    try {
      const grows = write.steps.some(({ kind }) => !removals.has(kind));
      const ttlUs = BigInt(this.#options.requestIdTtlMs) * 1000n;
      const earlier = findAnswer(this.#tables.statements, write, ttlUs);
      if (earlier !== undefined) {
        this.#answers.push(earlier);
        return undefined;
      }
      if (grows && this.#options.diskLow) throw diskFull();
      return planWrite(write, {
        revision: this.#counters.revision,
        shape: this.#tables.search.rows.version,
        // A lone insert finds out by itself, at no cost.
        find: isLoneCreate(write) ? () => undefined : (id) => this.#find(id),
      });
    } catch (error) {
      if (isFatal(error)) throw error;
      this.#refuse(write, translateError(error));
      return undefined;
    }
  }

  #find(id: string): RecordState | undefined {
    const row = this.#tables.statements.find.get(id);
    return row === undefined ? undefined : toRecordState(row);
  }

  #execute(item: WriteInGroup): void {
    const { write, plan } = item;
    const outcomes: PackedOutcome[] = [];
    for (const [position, planned] of plan.steps.entries()) {
      const outcome = plan.outcomes[position] ?? missing;
      outcomes.push(write.wantsBefore ? this.#withBefore(planned, outcome) : outcome);
      if (planned.action === "none") continue;
      if (planned.action !== "insert") {
        this.#change(planned);
      } else if (!this.#insert(planned, write)) {
        // Only a lone create gets here: nothing of it is done.
        this.#refuse(write, recordExists(0, planned.step.id));
        return;
      }
      this.#changed = true;
    }
    if (write.request !== undefined) {
      rememberAnswer(this.#tables.statements, write, plan.revision, plan.outcomes);
      this.#requestsUs = write.nowUs;
      this.#changed = true;
    }
    const { revision } = plan;
    this.#counters.revision = revision;
    this.#applied.push(item);
    this.#answers.push({ call: write.call, revision, replayed: false, outcomes });
  }

  /** Adds the record as it is before the step. */
  #withBefore(planned: PlannedStep, outcome: PackedOutcome): PackedOutcome {
    if (!("before" in planned)) return outcome;
    const { seq, version, createdUs, updatedUs, labels } = planned.before;
    const [revision, created, updated, change, own, id] = outcome;
    const before = { version, createdUs, updatedUs, labels, document: this.#document(seq) };
    return [revision, created, updated, change, own, id, before];
  }

  #change(planned: Exclude<PlannedStep, { action: "insert" | "none" }>): void {
    switch (planned.action) {
      case "replace":
        this.#replace(planned);
        return;
      case "relabel": {
        const { seq, version, updatedUs, labels } = planned.after;
        this.#tables.statements.relabel.run(seq, version, updatedUs, labels);
        return;
      }
      case "derive":
        this.#derive(planned);
        return;
      case "remove":
        this.#remove(planned.id, planned.before.seq);
        this.#bury(planned);
        return;
      case "bury":
        this.#dropTombstone(planned.id);
        this.#bury(planned);
    }
  }

  /** @returns false if the record is there already. */
  #insert(
    { step, after, displaced }: PlannedStep & { action: "insert" },
    write: IncomingWrite,
  ): boolean {
    const { indexes, search } = this.#tables;
    if (displaced !== undefined) this.#remove(step.id, displaced.seq);
    if (!this.#insertRow(step, after)) {
      const found = this.#find(step.id);
      if (found === undefined || !hasExpired(found, write.nowUs)) return false;
      this.#remove(step.id, found.seq);
      this.#insertRow(step, after);
    }
    if (!indexes.empty) indexes.insert(after.seq, step.derived.document);
    search.set(after.seq, step.derived, true);
    this.#counters.recordCount++;
    this.#dropTombstone(step.id);
    return true;
  }

  #dropTombstone(id: string): void {
    if (this.#counters.tombstones === 0) return;
    const { removeTombstone } = this.#tables.statements;
    this.#counters.tombstones -= Number(removeTombstone.run(id).changes);
  }

  #bury({ revision, id, atUs }: PlannedStep & { action: "bury" | "remove" }): void {
    this.#tables.statements.insertTombstone.run(revision, id, atUs);
    this.#counters.tombstones++;
  }

  /** @returns false if there is a row with this id. */
  #insertRow({ id, derived, data }: ContentStep, after: RecordState): boolean {
    const { seq, version, createdUs, updatedUs, labels } = after;
    const { document, expiresUs = null } = derived;
    const { changes } = this.#tables.statements.insert.run(
      seq,
      id,
      version,
      createdUs,
      updatedUs,
      expiresUs,
      labels,
      document,
      data,
    );
    return changes !== 0n;
  }

  #replace({ step, after }: PlannedStep & { action: "replace" }): void {
    const { statements, indexes, search } = this.#tables;
    const { derived, data } = step;
    const { seq, version, updatedUs, labels } = after;
    const { document, expiresUs = null } = derived;
    if (!indexes.empty) indexes.replace(seq, this.#document(seq), document);
    statements.replace.run(seq, version, updatedUs, expiresUs, labels, document, data);
    search.set(seq, derived, false);
  }

  #derive({ seq, derived }: PlannedStep & { action: "derive" }): void {
    const { statements, indexes, search } = this.#tables;
    const { document, expiresUs = null } = derived;
    if (!indexes.empty) indexes.replace(seq, this.#document(seq), document);
    statements.derive.run(seq, expiresUs, document);
    search.set(seq, derived, false);
  }

  /** Removes a record with all that hangs on it. */
  #remove(id: string, seq: bigint): void {
    const { statements, indexes, search } = this.#tables;
    if (!indexes.empty) indexes.remove(seq, this.#document(seq));
    statements.remove.run(seq);
    search.remove(seq);
    this.#counters.recordCount--;
    if (this.#counters.fileCount === 0n) return;
    const files = statements.filesOf.get(id);
    const count = integerOf(files, "count");
    if (count === 0n) return;
    statements.removeFiles.run(id);
    this.#counters.fileCount -= count;
    this.#counters.fileBytes -= integerOf(files, "bytes");
  }

  #document(seq: bigint): string {
    return textOf(this.#tables.statements.document.get(seq), "document");
  }

  #trimTombstones(): void {
    const { statements } = this.#tables;
    const excess = this.#counters.tombstones - this.#options.tombstonesMax;
    if (excess <= 0) return;
    const row = statements.nthTombstone.get(BigInt(excess - 1));
    const horizon = integerOf(row, "revision");
    statements.trimTombstones.run(horizon);
    this.#counters.horizon = horizon;
    this.#counters.tombstones = this.#options.tombstonesMax;
  }

  #startOver(): void {
    const { db } = this.#tables;
    if (db.isTransaction) db.exec("ROLLBACK");
    db.exec("BEGIN IMMEDIATE");
    this.#counters = { ...this.#before };
    this.#tables.search.discard();
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
    expiresUs: row["expiresUs"] === null ? undefined : integerOf(row, "expiresUs"),
    labels: textOf(row, "labels"),
  };
}
