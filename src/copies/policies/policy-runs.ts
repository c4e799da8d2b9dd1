import { create } from "@bufbuild/protobuf";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupPolicy,
  type BackupPolicy_Run,
  BackupPolicy_RunSchema,
} from "../../gen/collector/backups_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { usOf } from "../../lib/timestamps.ts";
import { Turns } from "../../lib/turns.ts";
import type { CopyRun } from "../copy-parts.ts";
import { tellOf } from "./failure-text.ts";
import type { PolicyBackups, RunOutcome } from "./policy-backups.ts";
import { nextAfter } from "./policy-schedule.ts";
import type { PolicyTable } from "./policy-table.ts";
import type { Pruner } from "./pruner.ts";

/** Runs that a policy remembers. */
const runsMax = 20;
/** Backups of a kind, and errors, that a remembered run names. */
const idsMax = 100;
const errorsMax = 20;

export interface PolicyRunsOptions {
  readonly table: PolicyTable;
  readonly maker: PolicyBackups;
  readonly pruner: Pruner;
  readonly limits: Pick<Limits, "policyRunsMax">;
  readonly clock: Clock;
  readonly log: Log;
}

/** Runs policies: each at most once at a time, and not too many of them. */
export class PolicyRuns {
  readonly #options: PolicyRunsOptions;
  readonly #turns: Turns;
  readonly #running = new Set<string>();
  readonly #stopping = new AbortController();
  readonly #settling = new Set<Promise<unknown>>();

  constructor(options: PolicyRunsOptions) {
    this.#options = options;
    this.#turns = new Turns(options.limits.policyRunsMax);
  }

  isRunning(name: string): boolean {
    return this.#running.has(name);
  }

  /** @throws {CollectorError} OPERATION_RUNNING */
  refuseRunning(name: string): void {
    if (!this.#running.has(name)) return;
    throw new CollectorError("OPERATION_RUNNING", "the policy runs already; wait until that ends", {
      subject: { policy: name },
    });
  }

  /** Keeps others from running a policy. @throws {CollectorError} OPERATION_RUNNING */
  claim(name: string): Disposable {
    this.refuseRunning(name);
    this.#running.add(name);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (isHeld) this.#running.delete(name);
        isHeld = false;
      },
    };
  }

  /**
   * Runs a policy that the caller has claimed. What goes wrong with single collections is in the answer, and in
   * the policy.
   *
   * @throws {CollectorError} POLICY_NOT_FOUND; the signal's reason if it fires, SHUTTING_DOWN
   */
  async run(
    name: string,
    pruneOnly: boolean,
    { signal, report }: CopyRun,
  ): Promise<BackupPolicy_Run> {
    const run = { signal: AbortSignal.any([signal, this.#stopping.signal]), report };
    const running = this.#run(name, pruneOnly, run);
    this.#settling.add(running);
    try {
      return await running;
    } finally {
      this.#settling.delete(running);
    }
  }

  /** Cuts all runs, and waits until that is noted. */
  async stop(): Promise<void> {
    this.#stopping.abort(new CollectorError("SHUTTING_DOWN", "the server is stopping"));
    await Promise.allSettled(this.#settling);
  }

  async #run(name: string, pruneOnly: boolean, run: CopyRun): Promise<BackupPolicy_Run> {
    const { table, maker, pruner, clock, log } = this.#options;
    run.report({ phase: "waiting" });
    using _turn = await this.#turns.take(run.signal);
    const policy = table.get(name);
    const startUs = clock.nowUs();
    const begun = create(BackupPolicy_RunSchema, { startTime: timestampOfUs(startUs), pruneOnly });
    await table.change(name, (current) => {
      if (current === undefined) return undefined;
      return { ...current, runs: [begun, ...current.runs].slice(0, runsMax) };
    });
    const outcome: RunOutcome = {
      setId: "",
      madeIds: [],
      deletedIds: [],
      errors: [],
      bytesWritten: 0n,
    };
    try {
      if (!pruneOnly) await maker.make(policy, outcome, run);
      // As it is by now: one that was removed or made to keep more has had its reasons.
      const current = table.find(name);
      if (current !== undefined) {
        run.report({ phase: "removing" });
        const { deletedIds, errors } = await pruner.prune(current, run.signal);
        outcome.deletedIds.push(...deletedIds);
        outcome.errors.push(...errors);
      }
      run.signal.throwIfAborted();
    } catch (error) {
      if (!run.signal.aborted) outcome.errors.push(tellOf(error, log));
      else if (!isShutdown(run.signal)) outcome.errors.push("the run was cancelled");
    }
    const ended: BackupPolicy_Run = { ...begun, ...factsOf(outcome) };
    try {
      const isCut = run.signal.aborted && isShutdown(run.signal);
      if (!isCut) ended.endTime = timestampOfUs(clock.nowUs());
      await table.note(name, (current) => {
        const brief = briefly(ended);
        const withOutcome = isCut ? withCutRun : withRun;
        return withOutcome(current, begun, brief, clock.nowUs());
      });
    } catch (error) {
      log.warn({ policy: name, err: error }, "the outcome of a backup policy could not be saved");
    }
    this.#tell(name, ended);
    run.signal.throwIfAborted();
    return ended;
  }

  #tell(policy: string, { madeCount, deletedCount, errors, bytesWritten }: BackupPolicy_Run): void {
    const { log } = this.#options;
    const facts = { policy, made: madeCount, deleted: deletedCount, bytes: Number(bytesWritten) };
    if (errors.length === 0) log.info(facts, "backup policy has run");
    else
      log.warn(
        { ...facts, errors: errors.slice(0, errorsMax) },
        "backup policy has run with errors",
      );
  }
}

/**
 * A policy whose newest run a stop of the server has cut. It stays due, so it runs again at the next start:
 * once, since what it does may be what stops the server.
 */
export function withCutRun(
  policy: BackupPolicy,
  begun: BackupPolicy_Run,
  cut: BackupPolicy_Run,
  nowUs: bigint,
): BackupPolicy {
  const errors = [...cut.errors, "the server stopped before the run had ended"];
  const runs = policy.runs.map((run) => (isSame(run, begun) ? { ...cut, errors } : run));
  const before = runs[runs.findIndex((run) => isSame(run, begun)) + 1];
  const isAgain = before !== undefined && before.endTime === undefined && !before.pruneOnly;
  const startUs = begun.startTime === undefined ? 0n : usOf(begun.startTime);
  return {
    ...policy,
    runs,
    ...(isAgain && !cut.pruneOnly ? nextAfter(policy, startUs, nowUs) : {}),
  };
}

/** A policy with the outcome of its newest run, after which the next one is counted from its start. */
function withRun(
  policy: BackupPolicy,
  begun: BackupPolicy_Run,
  ended: BackupPolicy_Run,
  nowUs: bigint,
): BackupPolicy {
  const runs = policy.runs.map((run) => (isSame(run, begun) ? ended : run));
  const { startTime, pruneOnly } = ended;
  if (startTime === undefined || pruneOnly) return { ...policy, runs };
  return { ...policy, runs, ...nextAfter(policy, usOf(startTime), nowUs) };
}

/** What a policy remembers of a run, however long that is. */
export function briefly(run: BackupPolicy_Run): BackupPolicy_Run {
  const { backupIds, deletedBackupIds, errors } = run;
  const more = errors.length - errorsMax;
  return {
    ...run,
    backupIds: backupIds.slice(0, idsMax),
    deletedBackupIds: deletedBackupIds.slice(0, idsMax),
    errors: more > 0 ? [...errors.slice(0, errorsMax), `and ${more} more`] : errors,
  };
}

function factsOf(outcome: RunOutcome): Partial<BackupPolicy_Run> {
  const { setId, madeIds, deletedIds, errors, bytesWritten } = outcome;
  return {
    setId,
    backupIds: madeIds,
    deletedBackupIds: deletedIds,
    madeCount: madeIds.length,
    deletedCount: deletedIds.length,
    errors,
    bytesWritten,
  };
}

/** Runs of a policy do not overlap: one that has not ended is told from others by its start. */
function isSame(one: BackupPolicy_Run, other: BackupPolicy_Run): boolean {
  const [a, b] = [one.startTime, other.startTime];
  return a?.seconds === b?.seconds && a?.nanos === b?.nanos && one.endTime === undefined;
}

function isShutdown({ reason }: AbortSignal): boolean {
  return reason instanceof CollectorError && reason.reason === "SHUTTING_DOWN";
}
