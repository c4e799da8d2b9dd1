import { CollectorError, type ErrorReason } from "../../../errors.ts";
import type { PackedOutcome } from "./answer-codec.ts";
import type { IncomingStep, IncomingWrite } from "./write-codec.ts";

/** A record as far as a write needs to know it. */
export interface RecordState {
  readonly seq: bigint;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
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
    }
  | {
      readonly action: "replace";
      readonly step: ContentStep;
      readonly after: RecordState;
    }
  | { readonly action: "relabel"; readonly after: RecordState }
  | {
      readonly action: "derive";
      readonly seq: bigint;
      readonly document: string;
      readonly texts: readonly string[];
    }
  | {
      readonly action: "remove";
      readonly id: string;
      readonly seq: bigint;
      readonly revision: bigint;
    };

/** A step that brings content. */
export interface ContentStep extends IncomingStep {
  readonly document: string;
  readonly data: Uint8Array;
}

/** All that a write will do, decided before any of it is done. */
export interface WritePlan {
  readonly steps: readonly PlannedStep[];
  readonly outcomes: readonly PackedOutcome[];
  /** The store's revision after it. */
  readonly revision: bigint;
}

/** The state of a record before a write; undefined if there is none. */
export type FindRecord = (id: string) => RecordState | undefined;

/**
 * Decides what a write does, each step seeing the ones before.
 *
 * @param revision the store's before the write.
 * @throws {CollectorError} RECORD_EXISTS, RECORD_NOT_FOUND, VERSION_MISMATCH of the first step that
 * cannot be done.
 */
export function planWrite(write: IncomingWrite, revision: bigint, find: FindRecord): WritePlan {
  const planner = new Planner(write, revision, find);
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

const missing: PackedOutcome = [0n, 0n, 0n, "none", "{}"];

class Planner implements WritePlan {
  readonly steps: PlannedStep[] = [];
  readonly outcomes: PackedOutcome[] = [];
  revision: bigint;
  readonly #nowUs: bigint;
  readonly #find: FindRecord;
  /** What the steps so far leave behind. */
  readonly #seen: Map<string, RecordState | undefined> | undefined;

  constructor(write: IncomingWrite, revision: bigint, find: FindRecord) {
    this.revision = revision;
    this.#nowUs = write.nowUs;
    this.#find = find;
    // Of a single step, nothing is seen again.
    this.#seen = write.steps.length > 1 ? new Map() : undefined;
  }

  add(step: IncomingStep, position: number): void {
    const before =
      this.#seen?.has(step.id) === true ? this.#seen.get(step.id) : this.#find(step.id);
    switch (step.kind) {
      case "create":
        if (before !== undefined) throw recordExists(position, step.id);
        this.#insert(step);
        return;
      case "update":
        this.#update(step, position, before);
        return;
      case "delete":
        this.#delete(step, position, before);
        return;
      case "derive":
        this.#derive(step, before);
    }
  }

  #insert(step: IncomingStep): void {
    const revision = ++this.revision;
    const after: RecordState = {
      seq: revision,
      version: revision,
      createdUs: this.#nowUs,
      updatedUs: this.#nowUs,
      labels: step.labels ?? "{}",
    };
    this.steps.push({ action: "insert", step: withContent(step), after });
    this.#seen?.set(step.id, after);
    this.outcomes.push(outcomeOf(after, "created", step.labels === undefined));
  }

  #update(step: IncomingStep, position: number, before: RecordState | undefined): void {
    if (before === undefined) {
      const creates = step.allowMissing && step.data !== undefined;
      if (!creates) throw notFound(position, step.id);
      if (step.ifVersion !== undefined) throw mismatch(position, step);
      this.#insert(step);
      return;
    }
    checkVersion(step, position, before);
    const after: RecordState = {
      ...before,
      version: ++this.revision,
      updatedUs: this.#nowUs,
      labels: step.labels ?? before.labels,
    };
    if (step.data === undefined) this.steps.push({ action: "relabel", after });
    else this.steps.push({ action: "replace", step: withContent(step), after });
    this.#seen?.set(step.id, after);
    this.outcomes.push(outcomeOf(after, "updated", step.labels === undefined));
  }

  #delete(step: IncomingStep, position: number, before: RecordState | undefined): void {
    if (before === undefined) {
      if (!step.allowMissing) throw notFound(position, step.id);
      this.#nothing(missing);
      return;
    }
    checkVersion(step, position, before);
    const revision = ++this.revision;
    this.steps.push({ action: "remove", id: step.id, seq: before.seq, revision });
    this.#seen?.set(step.id, undefined);
    this.outcomes.push(outcomeOf(before, "deleted", true));
  }

  #derive(step: IncomingStep, before: RecordState | undefined): void {
    if (before === undefined) {
      this.#nothing(missing);
      return;
    }
    if (before.version === step.ifVersion) {
      const { document = "{}", texts } = step;
      this.steps.push({ action: "derive", seq: before.seq, document, texts });
      this.outcomes.push(outcomeOf(before, "none", true));
    } else {
      this.#nothing(outcomeOf(before, "none", true));
    }
  }

  #nothing(outcome: PackedOutcome): void {
    this.steps.push({ action: "none" });
    this.outcomes.push(outcome);
  }
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
  return step.document !== undefined && step.data !== undefined;
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
