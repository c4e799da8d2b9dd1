import { create } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { CollectionCatalog } from "../../collections/catalog.ts";
import { timestampOfUs } from "../../collections/record-answers.ts";
import type { SystemRecords } from "../../collections/system-records.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupPolicy,
  type BackupPolicy_Run,
  BackupPolicy_RunSchema,
  BackupPolicySchema,
} from "../../gen/collector/backups_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { PageRequest } from "../../lib/page-token.ts";
import { usOf } from "../../lib/timestamps.ts";
import type { OperationTopic } from "../../operations/operation.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import { momentUsOf } from "../backup-moment.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { CopyRun } from "../copy-parts.ts";
import type { ServerBackup } from "../sets/server-backup.ts";
import { checkPolicy } from "./check-policy.ts";
import { PolicyBackups } from "./policy-backups.ts";
import { briefly, PolicyRuns, withCutRun } from "./policy-runs.ts";
import { nextAfter, nextOf } from "./policy-schedule.ts";
import { PolicyScheduler, policyTopic } from "./policy-scheduler.ts";
import { type PoliciesPage, PolicyTable } from "./policy-table.ts";
import { Pruner } from "./pruner.ts";

export interface BackupPoliciesOptions {
  /** Collection `policies` of namespace `system`. */
  readonly records: SystemRecords<BackupPolicy>;
  readonly backups: Pick<BackupCatalog, "all" | "chainOf" | "create" | "delete" | "isHeld">;
  readonly catalog: Pick<CollectionCatalog, "definitionsIn" | "find">;
  readonly sets: Pick<ServerBackup, "make">;
  readonly operations: OperationStore;
  readonly limits: Limits;
  readonly clock: Clock;
  readonly log: Log;
}

/** The backup policies of a server: what they are, when they run, and what they keep. */
export class BackupPolicies implements AsyncDisposable {
  readonly #table: PolicyTable;
  readonly #clock: Clock;
  readonly #maker: PolicyBackups;
  readonly #pruner: Pruner;
  readonly #runs: PolicyRuns;
  readonly #scheduler: PolicyScheduler;

  private constructor(table: PolicyTable, options: BackupPoliciesOptions) {
    const { clock } = options;
    const maker = new PolicyBackups(options);
    const pruner = new Pruner(options);
    const runs = new PolicyRuns({ ...options, table, maker, pruner });
    this.#table = table;
    this.#clock = clock;
    this.#maker = maker;
    this.#pruner = pruner;
    this.#runs = runs;
    this.#scheduler = new PolicyScheduler({ ...options, table, runs, pruner });
  }

  /** Reads all policies; runs that a crash has cut are told as such. */
  static async open(options: BackupPoliciesOptions): Promise<BackupPolicies> {
    const table = await PolicyTable.open(options.records, options.limits);
    const nowUs = options.clock.nowUs();
    for (const policy of table.all()) {
      const [run] = policy.runs;
      if (run === undefined || run.endTime !== undefined || run.errors.length > 0) continue;
      const cut = briefly({ ...run, ...madeSince(run, policy, options.backups) });
      await table.note(policy.name, (current) => withCutRun(current, run, cut, nowUs));
    }
    return new BackupPolicies(table, options);
  }

  /** Begins to run policies when they are due. To be called once, when backups can be made. */
  start(): void {
    this.#scheduler.start();
  }

  /** Begins nothing by itself any more. */
  pause(): void {
    this.#scheduler.pause();
  }

  /** Looks what is due now, and begins it; see {@link settled}. */
  look(): Promise<void> {
    return this.#scheduler.look();
  }

  /** Resolves when the runs that were begun by themselves have ended. */
  settled(): Promise<void> {
    return this.#scheduler.settled();
  }

  /**
   * Keeps a policy, in the place of one of that name. Its runs stay, and so does its next run if the
   * schedule is the same.
   *
   * @throws {CollectorError} what {@link checkPolicy} throws, QUOTA_EXCEEDED
   */
  async put(policy: BackupPolicy | undefined, validateOnly: boolean): Promise<BackupPolicy> {
    const nowUs = this.#clock.nowUs();
    const checked = checkPolicy(policy, nowUs);
    const { name } = checked;
    this.#table.refuseTooMany(name);
    if (validateOnly) return policyFrom(checked, this.#table.find(name), nowUs);
    await this.#table.change(name, (current) => policyFrom(checked, current, nowUs));
    this.#scheduler.wake();
    return this.#table.get(name);
  }

  /** @throws {CollectorError} POLICY_NOT_FOUND, ARGUMENT_MISSING */
  get(name: string): BackupPolicy {
    return this.#table.get(name);
  }

  /** In no order. */
  all(): Iterable<BackupPolicy> {
    return this.#table.all();
  }

  /** By name. @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID */
  list(request: PageRequest): PoliciesPage {
    return this.#table.list(request);
  }

  /**
   * Removes a policy; its backups stay. A run that is under way makes its backups, and removes none.
   *
   * @throws {CollectorError} POLICY_NOT_FOUND, ARGUMENT_MISSING
   */
  async delete(name: string, allowMissing: boolean): Promise<void> {
    try {
      await this.#table.delete(name);
    } catch (error) {
      const isMissing = error instanceof CollectorError && error.reason === "POLICY_NOT_FOUND";
      if (!allowMissing || !isMissing) throw error;
    }
  }

  /** What a run of the policy is about. @throws {CollectorError} POLICY_NOT_FOUND, OPERATION_RUNNING */
  topicOf(name: string): OperationTopic {
    const topic = policyTopic(this.#table.get(name));
    this.#runs.refuseRunning(name);
    return topic;
  }

  /**
   * Runs a policy now, suspended or not. What goes wrong with single collections is in the answer.
   *
   * @param pruneOnly makes no backups
   * @throws {CollectorError} POLICY_NOT_FOUND, OPERATION_RUNNING, CANCELLED, SHUTTING_DOWN
   */
  async run(name: string, pruneOnly: boolean, run: CopyRun): Promise<BackupPolicy_Run> {
    using _claim = this.#runs.claim(name);
    return await this.#runs.run(name, pruneOnly, run);
  }

  /**
   * What {@link run} would remove now, if all of its backups can be made.
   *
   * @throws {CollectorError} POLICY_NOT_FOUND, ARGUMENT_MISSING, STORAGE_UNAVAILABLE
   */
  async rehearse(name: string, pruneOnly: boolean): Promise<BackupPolicy_Run> {
    const policy = this.#table.get(name);
    const planned = pruneOnly ? [] : this.#maker.planned(policy);
    const removable = await this.#pruner.notKeptBy(policy, planned);
    return create(BackupPolicy_RunSchema, {
      startTime: timestampOfUs(this.#clock.nowUs()),
      pruneOnly,
      deletedBackupIds: removable.map(({ backupId }) => backupId),
      deletedCount: removable.length,
    });
  }

  /** Begins nothing any more, cuts what runs, and waits until that is noted. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#scheduler.pause();
    await this.#runs.stop();
    await this.#scheduler.stop();
  }
}

/** A policy as it is kept, from what a caller gave and what was there. */
function policyFrom(
  given: BackupPolicy,
  current: BackupPolicy | undefined,
  nowUs: bigint,
): BackupPolicy {
  const { nextRunTime: _next, runs: _runs, $unknown: _unknown, ...rest } = given;
  const runs = current?.runs ?? [];
  const policy = create(BackupPolicySchema, { ...rest, runs });
  return { ...policy, ...firstOf(policy, current, nowUs) };
}

function firstOf(
  policy: BackupPolicy,
  current: BackupPolicy | undefined,
  nowUs: bigint,
): Pick<BackupPolicy, "nextRunTime"> {
  if (policy.suspended) return {};
  const first = firstAnew(policy, nowUs).nextRunTime;
  if (first === undefined) return {};
  const next = current?.nextRunTime;
  const isSame = current !== undefined && isSameSchedule(policy, current);
  // One that is due at this very moment would be put off otherwise.
  const isKept = isSame && next !== undefined && usOf(next) < usOf(first);
  return { nextRunTime: isKept ? next : first };
}

/** The next run of a policy whose schedule is new. */
function firstAnew(policy: BackupPolicy, nowUs: bigint): Pick<BackupPolicy, "nextRunTime"> {
  if (policy.schedule.case !== "interval") return nextOf(policy, nowUs);
  const last = policy.runs.find(({ pruneOnly }) => !pruneOnly)?.startTime;
  if (last === undefined) return { nextRunTime: timestampOfUs(nowUs) };
  return nextAfter(policy, usOf(last), nowUs);
}

function isSameSchedule(one: BackupPolicy, other: BackupPolicy): boolean {
  const [a, b] = [one.schedule, other.schedule];
  if (a.case === "interval" && b.case === "interval") {
    return durationMs(a.value) === durationMs(b.value);
  }
  return a.case === b.case && a.value === b.value && one.timeZone === other.timeZone;
}

/** What a run that was cut has made nevertheless. */
function madeSince(
  { startTime }: BackupPolicy_Run,
  { name }: BackupPolicy,
  backups: Pick<BackupCatalog, "all">,
): Partial<BackupPolicy_Run> {
  const startUs = startTime === undefined ? 0n : usOf(startTime);
  const made = backups
    .all()
    .filter((backup) => backup.policy === name && momentUsOf(backup) >= startUs)
    .toReversed();
  return {
    setId: made[0]?.setId ?? "",
    backupIds: made.map(({ backupId }) => backupId),
    madeCount: made.length,
    bytesWritten: made.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0n),
  };
}
