import { CollectorError, type ErrorReason } from "../../../errors.ts";
import type { DerivedData } from "../../record-store.ts";
import type { PackedOutcome } from "./answer-codec.ts";
import type { IncomingStep, IncomingWrite, Replayed } from "./write-codec.ts";

/** A record as far as a write needs to know it. */
export interface RecordState {
  readonly seq: bigint;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  /** When it expires; undefined: never. */
  readonly expiresUs: bigint | undefined;
  /** As JSON. */
  readonly labels: string;
}

/** What a step will do. */
export type PlannedStep =
  | { readonly action: "none" }
  | {
      readonly action: "insert";
      readonly step: ContentStep;
      readonly after: RecordState;
      /** A record of the same id that goes to make room: its time has come, or it was another one. */
      readonly displaced: RecordState | undefined;
    }
  | {
      readonly action: "replace";
      readonly step: ContentStep;
      readonly before: RecordState;
      readonly after: RecordState;
    }
  | { readonly action: "relabel"; readonly before: RecordState; readonly after: RecordState }
  | { readonly action: "derive"; readonly seq: bigint; readonly derived: DerivedData }
  | {
      readonly action: "remove";
      readonly id: string;
      readonly before: RecordState;
      readonly revision: bigint;
      readonly atUs: bigint;
    }
  /** Notes the delete of a record that is not there. */
  | {
      readonly action: "bury";
      readonly id: string;
      readonly revision: bigint;
      readonly atUs: bigint;
    };

/** A step that brings content. */
export interface ContentStep extends IncomingStep {
  readonly derived: DerivedData;
  readonly data: Uint8Array;
}

/** All that a write will do, decided before any of it is done. */
export interface WritePlan {
  /** One per step of the write. */
  readonly steps: readonly PlannedStep[];
  readonly outcomes: readonly PackedOutcome[];
  /** The store's revision after it. */
  readonly revision: bigint;
}

/** The store as a write finds it. */
export interface PlanBasis {
  readonly revision: bigint;
  /** Version of the shape that content has to be derived for. */
  readonly shape: bigint;
  /** The state of a record before the write, its time come or not; undefined if there is none. */
  readonly find: (id: string) => RecordState | undefined;
}

/**
 * Decides what a write does, each step seeing the ones before. A record whose time has come is
 * missing.
 *
 * @throws {CollectorError} RECORD_EXISTS, RECORD_NOT_FOUND, VERSION_MISMATCH of the first step that
 * cannot be done; SHAPE_OUTDATED; INTERNAL for a step that replays what is not later than the store
 */
export function planWrite(write: IncomingWrite, basis: PlanBasis): WritePlan {
  const planner = new Planner(write, basis);
  for (const [position, step] of write.steps.entries()) planner.add(step, position);
  return planner;
}

export function stepRefused(
  reason: ErrorReason,
  message: string,
  step: number,
  id: string,
): CollectorError {
  return new CollectorError(reason, message, { subject: { step: String(step), id } });
}

export function recordExists(step: number, id: string): CollectorError {
  return stepRefused("RECORD_EXISTS", "a record with this id exists already", step, id);
}

/** The outcome of a step on a record that is not there. */
export const missing: PackedOutcome = [0n, 0n, 0n, "none", "{}"];

class Planner implements WritePlan {
  readonly steps: PlannedStep[] = [];
  readonly outcomes: PackedOutcome[] = [];
  revision: bigint;
  readonly #nowUs: bigint;
  readonly #basis: PlanBasis;
  /** What the steps so far leave behind. */
  readonly #seen: Map<string, RecordState | undefined> | undefined;

  constructor(write: IncomingWrite, basis: PlanBasis) {
    this.revision = basis.revision;
    this.#nowUs = write.nowUs;
    this.#basis = basis;
    // Of a single step, nothing is seen again.
    this.#seen = write.steps.length > 1 ? new Map() : undefined;
  }

  add(step: IncomingStep, position: number): void {
    if (step.derived !== undefined && step.derived.shape !== this.#basis.shape) {
      throw shapeOutdated(position, step.id);
    }
    const found =
      this.#seen?.has(step.id) === true ? this.#seen.get(step.id) : this.#basis.find(step.id);
    const isExpired = found !== undefined && hasExpired(found, this.#nowUs);
    const before = isExpired ? undefined : found;
    const expired = isExpired ? found : undefined;
    switch (step.kind) {
      case "create":
        if (before !== undefined) throw recordExists(position, step.id);
        this.#insert(step, expired);
        return;
      case "update":
        if (before === undefined) this.#updateMissing(step, position, expired);
        else this.#update(step, position, before);
        return;
      case "delete":
        this.#delete(step, position, before);
        return;
      case "derive":
        this.#derive(step, before);
        return;
      case "expire":
        if (expired !== undefined) this.#remove(step.id, expired);
        else this.#nothing(before);
        return;
      case "replay":
        this.#replay(step, position, found);
        return;
      case "replayDelete":
        this.#replayDelete(step, position, found);
    }
  }

  #insert(step: IncomingStep, expired: RecordState | undefined): void {
    const content = withContent(step);
    const revision = ++this.revision;
    const after: RecordState = {
      seq: revision,
      version: revision,
      createdUs: this.#nowUs,
      updatedUs: this.#nowUs,
      expiresUs: content.derived.expiresUs,
      labels: step.labels ?? "{}",
    };
    this.steps.push({ action: "insert", step: content, after, displaced: expired });
    this.#seen?.set(step.id, after);
    this.outcomes.push(outcomeOf(after, "created", step.labels === undefined));
  }

  /** @param found the record of this id, its time come or not: the copied store has it as well. */
  #replay(step: IncomingStep, position: number, found: RecordState | undefined): void {
    const { revision, createdRevision, createdUs, updatedUs } = this.#advance(step, position);
    if (createdRevision <= 0n || createdRevision > revision) throw notLater(position, step.id);
    const content = withContent(step);
    const { expiresUs } = content.derived;
    const labels = step.labels ?? "{}";
    const state = { seq: createdRevision, version: revision, updatedUs, expiresUs, labels };
    const isSame = found?.seq === createdRevision;
    const after: RecordState = { ...state, createdUs: isSame ? found.createdUs : createdUs };
    if (isSame) this.steps.push({ action: "replace", step: content, before: found, after });
    else this.steps.push({ action: "insert", step: content, after, displaced: found });
    this.#seen?.set(step.id, after);
    this.outcomes.push(outcomeOf(after, isSame ? "updated" : "created", step.labels === undefined));
  }

  #replayDelete(step: IncomingStep, position: number, found: RecordState | undefined): void {
    const { revision, updatedUs: atUs } = this.#advance(step, position);
    const { id } = step;
    if (found === undefined) this.steps.push({ action: "bury", id, revision, atUs });
    else this.steps.push({ action: "remove", id, before: found, revision, atUs });
    this.#seen?.set(id, undefined);
    this.outcomes.push(found === undefined ? missing : outcomeOf(found, "deleted", true));
  }

  /** Goes on to the revision that a step replays. */
  #advance({ id, replayed }: IncomingStep, position: number): Replayed {
    if (replayed === undefined || replayed.revision <= this.revision) throw notLater(position, id);
    this.revision = replayed.revision;
    return replayed;
  }

  #updateMissing(step: IncomingStep, position: number, expired: RecordState | undefined): void {
    const creates = step.allowMissing && step.data !== undefined;
    if (!creates) throw notFound(position, step.id);
    if (step.ifVersion !== undefined) throw mismatch(position, step);
    this.#insert(step, expired);
  }

  #update(step: IncomingStep, position: number, before: RecordState): void {
    checkVersion(step, position, before);
    const changed = {
      ...before,
      version: ++this.revision,
      updatedUs: this.#nowUs,
      labels: step.labels ?? before.labels,
    };
    let after: RecordState = changed;
    if (step.data === undefined) {
      this.steps.push({ action: "relabel", before, after });
    } else {
      const content = withContent(step);
      after = { ...changed, expiresUs: content.derived.expiresUs };
      this.steps.push({ action: "replace", step: content, before, after });
    }
    this.#seen?.set(step.id, after);
    this.outcomes.push(outcomeOf(after, "updated", step.labels === undefined));
  }

  #delete(step: IncomingStep, position: number, before: RecordState | undefined): void {
    if (before === undefined) {
      if (!step.allowMissing) throw notFound(position, step.id);
      this.#nothing(undefined);
      return;
    }
    checkVersion(step, position, before);
    this.#remove(step.id, before);
  }

  #remove(id: string, before: RecordState): void {
    const revision = ++this.revision;
    this.steps.push({ action: "remove", id, before, revision, atUs: this.#nowUs });
    this.#seen?.set(id, undefined);
    this.outcomes.push(outcomeOf(before, "deleted", true));
  }

  #derive(step: IncomingStep, before: RecordState | undefined): void {
    const { derived } = step;
    if (before === undefined || derived === undefined || before.version !== step.ifVersion) {
      this.#nothing(before);
      return;
    }
    this.steps.push({ action: "derive", seq: before.seq, derived });
    this.#seen?.set(step.id, { ...before, expiresUs: derived.expiresUs });
    this.outcomes.push(outcomeOf(before, "none", true));
  }

  #nothing(state: RecordState | undefined): void {
    this.steps.push({ action: "none" });
    this.outcomes.push(state === undefined ? missing : outcomeOf(state, "none", true));
  }
}

/** True if the record's time has come: from that microsecond on it is missing. */
export function hasExpired({ expiresUs }: RecordState, nowUs: bigint): boolean {
  return expiresUs !== undefined && expiresUs <= nowUs;
}

function outcomeOf(
  state: RecordState,
  change: PackedOutcome[3],
  withLabels: boolean,
): PackedOutcome {
  const { version, createdUs, updatedUs, labels } = state;
  return [version, createdUs, updatedUs, change, withLabels ? labels : undefined];
}

function withContent(step: IncomingStep): ContentStep {
  if (hasContent(step)) return step;
  throw new CollectorError("INTERNAL", "a write that needs content has none");
}

function hasContent(step: IncomingStep): step is ContentStep {
  return step.derived !== undefined && step.data !== undefined;
}

function checkVersion(step: IncomingStep, position: number, before: RecordState): void {
  if (step.ifVersion !== undefined && step.ifVersion !== before.version) {
    throw mismatch(position, step, before.version);
  }
}

function mismatch(position: number, step: IncomingStep, now?: bigint): CollectorError {
  const state = now === undefined ? "does not exist" : `has version ${now}`;
  return stepRefused(
    "VERSION_MISMATCH",
    `the record ${state}, not version ${step.ifVersion}; read it again`,
    position,
    step.id,
  );
}

function notFound(position: number, id: string): CollectorError {
  return stepRefused("RECORD_NOT_FOUND", "there is no record with this id", position, id);
}

function notLater(position: number, id: string): CollectorError {
  return stepRefused("INTERNAL", "the change is not of this store's future", position, id);
}

function shapeOutdated(position: number, id: string): CollectorError {
  return stepRefused(
    "SHAPE_OUTDATED",
    "what is searched has changed while the record was on its way; try again",
    position,
    id,
  );
}
