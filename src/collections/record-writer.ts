import { CollectorError } from "../errors.ts";
import type {
  RecordContent,
  RecordStore,
  StepOutcome,
  Write,
  WriteOutcome,
  WriteStep,
} from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import type { MaskedWrite, PlainWrite, RecordWrite, WriteTarget } from "./record-requests.ts";

/** Masked updates of one record that share a write. */
const sharedMax = 64;

/**
 * How often a write is planned anew because a record changed after it was read. Only writes that
 * were under way before the record was locked can cause that, so two are enough; the rest is a net.
 */
const attemptsMax = 8;

/** A version that no record has. */
const noVersion = 0n;

/** How a write fails that was planned for a record as it is no longer. */
const staleReasons: ReadonlySet<string> = new Set([
  "VERSION_MISMATCH",
  "RECORD_EXISTS",
  "RECORD_NOT_FOUND",
]);

/** Sees every write of a collection that changes records, also what expires. */
export interface WriteTap {
  /** Whether to ask for records as they were before, at the cost of reading them; asked per write. */
  wantsBefore(): boolean;
  /**
   * Called when a write is acknowledged, in the order of the revisions; must not throw or wait. A
   * write whose outcome is unknown is not told: the next one's revision then leaves a gap.
   */
  note(write: Write, outcome: WriteOutcome): void;
}

export interface RecordWriterOptions {
  readonly store: RecordStore;
  /** Undefined: nobody looks. */
  readonly tap?: WriteTap | undefined;
  /** Every write of a locked record has to take its lock. */
  readonly locks: KeyedLock;
  /** Told when a record is about to be written that expires. */
  readonly onExpiry?: ((expiresUs: bigint) => void) | undefined;
  /** How records are written now. */
  readonly target: () => Promise<WriteTarget>;
  /** False once type or definition have changed: what was derived before must not be written. */
  readonly isCurrent: (target: WriteTarget) => boolean;
  /** What an update makes of the stored bytes. */
  readonly merge: (write: MaskedWrite, stored: Uint8Array, target: WriteTarget) => RecordContent;
  /** The content of an update that finds no record and may make one; undefined if it cannot. */
  readonly whole: (write: MaskedWrite, target: WriteTarget) => RecordContent | undefined;
}

interface Waiting {
  readonly write: MaskedWrite;
  readonly request: Write["request"];
  readonly signal: AbortSignal | undefined;
  readonly settle: PromiseWithResolvers<StepOutcome>;
}

/** Failures of one update that say nothing about the ones beside it. */
const ownFaults: ReadonlySet<string> = new Set([
  "RECORD_NOT_FOUND",
  "RECORD_EXISTS",
  "VERSION_MISMATCH",
  "MESSAGE_TOO_LARGE",
  "ITEM_UNPARSABLE",
]);

/**
 * Writes records of one collection.
 *
 * Updates by mask read, merge and write under a lock per record, with the version that was read as a
 * precondition. Those that wait for the same record share the next write, so that a record's
 * throughput is not one update a commit; see docs/decisions/0003-masked-updates.md.
 */
export class RecordWriter {
  readonly #options: RecordWriterOptions;
  /** Updates that no running write has taken up yet, by record. */
  readonly #waiting = new Map<string, Waiting[]>();

  constructor(options: RecordWriterOptions) {
    this.#options = options;
  }

  /**
   * Applies a write that needs nothing but its step.
   *
   * @throws {CollectorError} SHAPE_OUTDATED, as all writes here do, if what is derived from records has
   * changed: derive again, and write again.
   */
  plain({ id, step, target }: PlainWrite, request: Write["request"]): Promise<WriteOutcome> {
    const { locks } = this.#options;
    const steps = [step];
    const ids = [id];
    if (!locks.isBusy(ids)) return this.#write(steps, request, target);
    return locks.run(ids, () => this.#write(steps, request, target));
  }

  /** Deletes those of the records whose time has come. */
  expire(ids: readonly string[]): Promise<WriteOutcome> {
    return this.#write(
      ids.map((id) => ({ kind: "expire", id })),
      undefined,
      undefined,
    );
  }

  /** @param signal fires when the caller no longer waits; an update not yet begun is then left out. */
  masked(
    write: MaskedWrite,
    request: Write["request"],
    signal: AbortSignal | undefined,
  ): Promise<StepOutcome> {
    const settle = Promise.withResolvers<StepOutcome>();
    const waiting = this.#waiting.get(write.id);
    if (waiting === undefined) {
      this.#waiting.set(write.id, [{ write, request, signal, settle }]);
      // Failures reach the callers, one by one.
      void this.#options.locks.run([write.id], () => this.#drain(write.id));
    } else {
      waiting.push({ write, request, signal, settle });
    }
    return settle.promise;
  }

  /** Applies writes in order, all or none; masked ones see what the ones before them wrote. */
  batch(writes: readonly RecordWrite[], request: Write["request"]): Promise<WriteOutcome> {
    const ids = [...new Set(writes.map(({ id }) => id))];
    const masked = writes.some(({ kind }) => kind === "masked");
    const { locks } = this.#options;
    if (masked) return locks.run(ids, () => this.#apply(writes, request));
    const steps = writes.flatMap((write) => (write.kind === "plain" ? [write.step] : []));
    const target = targetOf(writes);
    const write = (): Promise<WriteOutcome> => this.#write(steps, request, target);
    return locks.isBusy(ids) ? locks.run(ids, write) : write();
  }

  /** Takes up what waits for a record; what is left over goes to the end of the record's queue. */
  async #drain(id: string): Promise<void> {
    const waiting = this.#waiting.get(id) ?? [];
    const shared = takeShared(waiting);
    if (waiting.length === 0) this.#waiting.delete(id);
    else void this.#options.locks.run([id], () => this.#drain(id));
    const wanted = shared.filter((one) => !dropIfAborted(one));
    if (wanted.length > 0) await this.#applyShared(wanted);
  }

  async #applyShared(shared: readonly Waiting[]): Promise<void> {
    try {
      const writes = shared.map(({ write }) => write);
      const { outcomes } = await this.#apply(writes, shared[0]?.request);
      for (const [index, { settle }] of shared.entries()) {
        const outcome = outcomes[index];
        if (outcome === undefined) settle.reject(new Error("a write has no outcome"));
        else settle.resolve(outcome);
      }
    } catch (error) {
      if (shared.length > 1 && error instanceof CollectorError && ownFaults.has(error.reason)) {
        // One of them failed all: each gets the answer that it has alone.
        for (const one of shared) await this.#applyShared([one]);
      } else {
        for (const { settle } of shared) settle.reject(error);
      }
    }
  }

  /** The one way from here to the store. @param target what the steps were derived for */
  async #write(
    steps: readonly WriteStep[],
    request: Write["request"],
    target: WriteTarget | undefined,
  ): Promise<WriteOutcome> {
    const { store, tap, isCurrent } = this.#options;
    if (target !== undefined && !isCurrent(target)) throw outdated();
    if (target?.plan.canExpire === true) this.#noteExpiry(steps);
    if (tap === undefined) return store.write({ steps, request });
    const write: Write = { steps, request, wantsBefore: tap.wantsBefore() };
    const outcome = await store.write(write);
    tap.note(write, outcome);
    return outcome;
  }

  #noteExpiry(steps: readonly WriteStep[]): void {
    for (const step of steps) {
      if (step.kind !== "create" && step.kind !== "update") continue;
      const expiresUs = step.content?.expiresUs;
      if (expiresUs !== undefined) this.#options.onExpiry?.(expiresUs);
    }
  }

  async #apply(writes: readonly RecordWrite[], request: Write["request"]): Promise<WriteOutcome> {
    const ids = [...new Set(writes.flatMap(({ kind, id }) => (kind === "masked" ? [id] : [])))];
    for (let attempt = 1; ; attempt += 1) {
      const target = targetOf(writes) ?? (await this.#options.target());
      const found = await this.#options.store.get(ids);
      const records = new Map(ids.map((id, index) => [id, found[index]]));
      const plan = this.#plan(writes, records, target);
      try {
        return await this.#write(plan.steps, request, target);
      } catch (error) {
        if (attempt === attemptsMax || !plan.isStale(error)) throw error;
      }
    }
  }

  /** Turns writes into steps, given the records as they are now. */
  #plan(
    writes: readonly RecordWrite[],
    found: ReadonlyMap<string, StoredRecord | undefined>,
    target: WriteTarget,
  ): { steps: WriteStep[]; isStale: (error: unknown) => boolean } {
    /** What the steps so far have made of the records; undefined for one that they have removed. */
    const state = new Map<string, Uint8Array | undefined>();
    /** Steps that fail if a record is no longer as it was read. */
    const assuming = new Set<number>();
    const steps = writes.map((write, index) => {
      const stored = found.get(write.id);
      // The first step on a record makes sure that it is the one that was read.
      const version = state.has(write.id) ? undefined : stored?.version;
      if (!state.has(write.id)) state.set(write.id, stored?.data);
      let step: WriteStep;
      if (write.kind === "masked") {
        step = this.#maskedStep(write, state.get(write.id), version, target);
        if (write.ifVersion === undefined || write.ifVersion === stored?.version) {
          assuming.add(index);
        }
      } else if (version !== undefined && leavesContent(write.step)) {
        step = { ...write.step, ifVersion: version };
        assuming.add(index);
      } else {
        step = write.step;
      }
      noteState(state, step);
      return step;
    });
    return {
      steps,
      isStale: (error) =>
        error instanceof CollectorError &&
        staleReasons.has(error.reason) &&
        assuming.has(Number(error.subject["step"] ?? 0)) &&
        // One that was read can have expired since.
        (error.reason !== "RECORD_NOT_FOUND" || found.get(error.subject["id"] ?? "") !== undefined),
    };
  }

  /**
   * @param current the record's bytes when the step runs; undefined if there is none.
   * @param version the version it was read with; undefined if an earlier step has changed it.
   */
  #maskedStep(
    write: MaskedWrite,
    current: Uint8Array | undefined,
    version: bigint | undefined,
    target: WriteTarget,
  ): WriteStep {
    const { id, labels } = write;
    if (current !== undefined) {
      const content = this.#options.merge(write, current, target);
      return { kind: "update", id, content, labels, ifVersion: write.ifVersion ?? version };
    }
    const content = this.#options.whole(write, target);
    if (content !== undefined && write.allowMissing && write.ifVersion === undefined) {
      return { kind: "create", id, content, labels: labels ?? {} };
    }
    // The store refuses it: there is no record, or one that was not there when it was read.
    return { kind: "update", id, content, labels, ifVersion: write.ifVersion ?? noVersion };
  }
}

/** What the writes of one call were derived for: the same for all of them. */
function targetOf(writes: readonly RecordWrite[]): WriteTarget | undefined {
  for (const write of writes) {
    if (write.kind === "plain" && write.target !== undefined) return write.target;
  }
  return undefined;
}

function outdated(): CollectorError {
  return new CollectorError("SHAPE_OUTDATED", "the collection has changed since the write began");
}

/** An update of labels alone, without a condition: later steps build on bytes that it does not set. */
function leavesContent(step: WriteStep): step is WriteStep & { kind: "update" } {
  return step.kind === "update" && step.content === undefined && step.ifVersion === undefined;
}

function noteState(state: Map<string, Uint8Array | undefined>, step: WriteStep): void {
  switch (step.kind) {
    case "create":
      state.set(step.id, step.content.data);
      return;
    case "update":
      if (step.content !== undefined) state.set(step.id, step.content.data);
      return;
    case "delete":
      state.set(step.id, undefined);
      return;
    case "expire":
      state.set(step.id, undefined);
      return;
    case "derive":
    case "replay":
    case "replayDelete":
      return;
  }
}

/** The updates that the next write takes up: one alone if it has a condition of its own. */
function takeShared(waiting: Waiting[]): Waiting[] {
  const alone = waiting.findIndex(
    ({ write, request }) => request !== undefined || write.ifVersion !== undefined,
  );
  const count = alone === -1 ? waiting.length : Math.max(alone, 1);
  return waiting.splice(0, Math.min(count, sharedMax));
}

function dropIfAborted({ signal, settle }: Waiting): boolean {
  if (signal?.aborted !== true) return false;
  settle.reject(signal.reason);
  return true;
}
