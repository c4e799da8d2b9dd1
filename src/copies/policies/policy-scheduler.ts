import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  type BackupPolicy,
  RunBackupPolicyResponseSchema,
} from "../../gen/collector/backups_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { usOf } from "../../lib/timestamps.ts";
import type { OperationTopic } from "../../operations/operation.ts";
import type { OperationStore } from "../../operations/operation-store.ts";
import type { PolicyRuns } from "./policy-runs.ts";
import { isPutOff, nextOf } from "./policy-schedule.ts";
import type { PolicyTable } from "./policy-table.ts";
import type { Pruner } from "./pruner.ts";

/**
 * The clock is looked at this often at least. So no timer is too long for the platform, a clock that was
 * put forward or a machine that slept is noticed, and backups whose retention is over go.
 */
const lookMs = 30_000;

/** The pause before what is due and could not begin is tried again. */
const againMs = 5000;

export interface PolicySchedulerOptions {
  readonly table: PolicyTable;
  readonly runs: PolicyRuns;
  readonly pruner: Pruner;
  readonly operations: Pick<OperationStore, "start" | "wait">;
  readonly clock: Clock;
  readonly log: Log;
}

export function policyTopic({ name, namespace }: BackupPolicy): OperationTopic {
  return { kind: "backup-policy", namespace, subject: `policies/${name}` };
}

/** Runs policies when they are due, and removes backups whose retention is over. */
export class PolicyScheduler {
  readonly #options: PolicySchedulerOptions;
  readonly #stopping = new AbortController();
  readonly #settling = new Set<Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #isRunning = false;
  #looking: Promise<void> | undefined;
  #lastLookUs = 0n;
  /** Policies, as they are, whose next run no clock has put off. */
  #inTime = new WeakSet<BackupPolicy>();

  constructor(options: PolicySchedulerOptions) {
    this.#options = options;
  }

  /** Begins to look by itself. What was missed while nobody looked is due at once, once each. */
  start(): void {
    this.#isRunning = true;
    this.#arm(0);
  }

  /** To be called when a policy may be due earlier than before. */
  wake(): void {
    if (!this.#isRunning || this.#looking !== undefined) return;
    this.#arm(this.#untilNextMs());
  }

  /** Looks what is due, and begins it. Failures are logged: the next look tries again. */
  look(): Promise<void> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** Resolves when what was begun has ended. */
  async settled(): Promise<void> {
    await Promise.all(this.#settling);
  }

  /** Begins nothing any more. Runs under way go on. */
  pause(): void {
    this.#isRunning = false;
    clearTimeout(this.#timer);
  }

  /** Looks no more. The operations of what it has begun end by themselves, or with their store. */
  async stop(): Promise<void> {
    this.pause();
    this.#stopping.abort();
    await this.#looking;
  }

  #arm(delayMs: number): void {
    if (!this.#isRunning) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const { log } = this.#options;
      void this.look()
        .catch((error: unknown) =>
          log.error({ err: error }, "backup policies could not be looked at"),
        )
        .then(() => this.#arm(this.#untilNextMs()));
    }, delayMs).unref();
  }

  #untilNextMs(): number {
    const { table, runs, clock } = this.#options;
    const nowUs = clock.nowUs();
    let delayMs = lookMs;
    for (const { name, nextRunTime } of table.all()) {
      if (nextRunTime === undefined || runs.isRunning(name)) continue;
      delayMs = Math.min(delayMs, Math.ceil(Number(usOf(nextRunTime) - nowUs) / 1000));
    }
    // What could not begin is not tried without a pause.
    return delayMs > 0 ? delayMs : againMs;
  }

  async #look(): Promise<void> {
    const { table, runs, pruner, clock, log } = this.#options;
    const nowUs = clock.nowUs();
    if (nowUs < this.#lastLookUs) this.#inTime = new WeakSet();
    this.#lastLookUs = nowUs;
    await this.#pullBack(nowUs);
    const due = [...table.all()]
      .filter(({ name, nextRunTime }) => {
        return nextRunTime !== undefined && usOf(nextRunTime) <= nowUs && !runs.isRunning(name);
      })
      .sort((one, other) => (dueUs(one) < dueUs(other) ? -1 : 1));
    for (const policy of due) {
      if (this.#stopping.signal.aborted) return;
      await this.#begin(policy);
    }
    const { deletedIds, errors } = await pruner.sweep(this.#stopping.signal);
    if (deletedIds.length > 0)
      log.info({ backups: deletedIds }, "backups removed by their retention");
    if (errors.length > 0) log.warn({ errors }, "backups could not be removed");
  }

  /** A clock that was ahead, be it between two looks only, has put runs off too far. */
  async #pullBack(nowUs: bigint): Promise<void> {
    const { table, log } = this.#options;
    for (const policy of table.all()) {
      if (this.#inTime.has(policy)) continue;
      this.#inTime.add(policy);
      const { name } = policy;
      try {
        if (!isPutOff(policy, nowUs)) continue;
        await table.note(name, (current) =>
          isPutOff(current, nowUs) ? { ...current, ...nextOf(current, nowUs) } : current,
        );
      } catch (error) {
        log.warn({ policy: name, err: error }, "the next run of a policy could not be set");
      }
    }
  }

  async #begin(policy: BackupPolicy): Promise<void> {
    const { runs, operations, log } = this.#options;
    const { name } = policy;
    // Somebody may have begun it since.
    if (runs.isRunning(name)) return;
    const claim = runs.claim(name);
    try {
      const operation = await operations.start(policyTopic(policy), async (run) => {
        using _claim = claim;
        const ended = await runs.run(name, false, run);
        const response = create(RunBackupPolicyResponseSchema, { run: ended });
        return anyPack(RunBackupPolicyResponseSchema, response);
      });
      const settled = operations
        .wait(operation.name, {})
        .then(() => undefined)
        .finally(() => this.#settling.delete(settled));
      this.#settling.add(settled);
    } catch (error) {
      claim[Symbol.dispose]();
      log.warn({ policy: name, err: error }, "a backup policy could not be run");
    }
  }
}

function dueUs({ nextRunTime }: BackupPolicy): bigint {
  return nextRunTime === undefined ? 0n : usOf(nextRunTime);
}
