import { timestampMs } from "@bufbuild/protobuf/wkt";
import { Counter, Gauge, type GaugeConfiguration, Histogram, type Registry } from "prom-client";
import type { BackupObserver } from "../copies/backup-parts.ts";
import { newestMoments } from "../copies/policies/known-backups.ts";
import type { BackupPolicy } from "../gen/collector/backups_pb.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { systemClock } from "../lib/clock.ts";

/** Upper bounds in seconds: a few records take milliseconds, a hundred gigabytes an hour. */
const durationBucketsS = [0.05, 0.25, 1, 5, 15, 60, 300, 1800, 7200];

/** Collections with a sample of their own, the first by name: users make as many as they like. */
const collectionsMax = 1000;

/** What there is to tell of the backups of a server when somebody asks. */
export interface BackupFacts {
  /** The same array until something changes. */
  readonly backups: () => readonly BackupMetadata[];
  /** By namespace and name. */
  readonly collections: () => readonly {
    readonly namespace: string;
    readonly name: string;
    readonly collectionId: string;
  }[];
  readonly policies: () => Iterable<BackupPolicy>;
}

/** How backups go: what was made and removed, how old the newest ones are, how policies have run. */
export class BackupMetrics implements BackupObserver {
  readonly #ended: Counter<"outcome">;
  readonly #duration: Histogram;
  readonly #bytes: Counter;
  readonly #removed: Counter;
  #facts: BackupFacts | undefined;
  #newest: { readonly of: readonly BackupMetadata[]; readonly us: ReadonlyMap<string, bigint> };

  constructor(registry: Registry) {
    const registers = [registry];
    this.#newest = { of: [], us: new Map() };
    this.#ended = new Counter({
      name: "collector_backups_total",
      help: "Backups of collections and of the registry that ended, by outcome.",
      labelNames: ["outcome"],
      registers,
    });
    // An alert on failures needs a value from before the first one.
    for (const outcome of ["made", "failed", "cancelled"]) this.#ended.inc({ outcome }, 0);
    this.#duration = new Histogram({
      name: "collector_backup_duration_seconds",
      help: "Time that a backup took, without waiting for its turn.",
      buckets: durationBucketsS,
      registers,
    });
    this.#bytes = new Counter({
      name: "collector_backup_bytes_total",
      help: "Bytes of the archives of the backups that were made.",
      registers,
    });
    this.#removed = new Counter({
      name: "collector_backups_removed_total",
      help: "Backups that callers, policies or their own retention have removed.",
      registers,
    });
    this.#addBackupGauges(registers);
    this.#addPolicyGauges(registers);
  }

  /** Says where the facts are that are asked for at each reading. */
  follow(facts: BackupFacts): void {
    this.#facts = facts;
  }

  ended(
    outcome: "made" | "failed" | "cancelled",
    durationMs: number,
    backup?: BackupMetadata,
  ): void {
    this.#ended.inc({ outcome });
    if (backup === undefined) return;
    this.#duration.observe(durationMs / 1000);
    this.#bytes.inc(Number(backup.sizeBytes));
  }

  removed(): void {
    this.#removed.inc();
  }

  #addBackupGauges(registers: Registry[]): void {
    const backups = (): readonly BackupMetadata[] => this.#facts?.backups() ?? [];
    const newest = (): ReadonlyMap<string, bigint> => this.#newestMoments(backups());
    const collections = (): ReturnType<BackupFacts["collections"]> =>
      this.#facts?.collections() ?? [];
    addGauge({
      name: "collector_backups",
      help: "Backups that there are.",
      registers,
      collect() {
        this.set(backups().length);
      },
    });
    addGauge({
      name: "collector_backups_bytes",
      help: "Bytes of their archives.",
      registers,
      collect() {
        this.set(backups().reduce((sum, { sizeBytes }) => sum + Number(sizeBytes), 0));
      },
    });
    addGauge({
      name: "collector_backup_newest_timestamp_seconds",
      help: `Moment of the newest valid backup, of the first ${collectionsMax} collections that have one.`,
      labelNames: ["namespace", "collection"],
      registers,
      collect() {
        this.reset();
        const moments = newest();
        let left = collectionsMax;
        for (const { namespace, name, collectionId } of collections()) {
          const momentUs = moments.get(collectionId);
          if (momentUs === undefined) continue;
          this.set({ namespace, collection: name }, Number(momentUs) / 1e6);
          left -= 1;
          if (left === 0) return;
        }
      },
    });
    addGauge({
      name: "collector_collections_without_backup",
      help: "Collections that have no valid backup.",
      registers,
      collect() {
        const moments = newest();
        this.set(collections().filter(({ collectionId }) => !moments.has(collectionId)).length);
      },
    });
  }

  #addPolicyGauges(registers: Registry[]): void {
    const policies = (): Iterable<BackupPolicy> => this.#facts?.policies() ?? [];
    const add = (
      name: string,
      help: string,
      valueOf: (policy: BackupPolicy) => number | undefined,
    ): void => {
      addGauge({
        name,
        help,
        labelNames: ["policy"],
        registers,
        collect() {
          this.reset();
          for (const policy of policies()) {
            const value = valueOf(policy);
            if (value !== undefined) this.set({ policy: policy.name }, value);
          }
        },
      });
    };
    add(
      "collector_backup_policy_last_run_timestamp_seconds",
      "When the last run of a policy began that made backups.",
      (policy) => startS(runsOf(policy)[0]),
    );
    add(
      "collector_backup_policy_last_success_timestamp_seconds",
      "When the last of its known runs began that made all of them.",
      (policy) => startS(runsOf(policy).find(isSuccess)),
    );
    add(
      "collector_backup_policy_failed",
      "1 if something went wrong in the last run of a policy that made backups, else 0.",
      (policy) => {
        const last = runsOf(policy).find((run) => !isUnderWay(run));
        return last === undefined ? undefined : Number(!isSuccess(last));
      },
    );
    add(
      "collector_backup_policy_next_run_timestamp_seconds",
      "When a policy runs next; a moment in the past is one that it could not begin at.",
      ({ nextRunTime }) =>
        nextRunTime === undefined ? undefined : timestampMs(nextRunTime) / 1000,
    );
  }

  /** Made anew after changes only. */
  #newestMoments(backups: readonly BackupMetadata[]): ReadonlyMap<string, bigint> {
    if (this.#newest.of !== backups) {
      this.#newest = { of: backups, us: newestMoments(backups, systemClock.nowUs()) };
    }
    return this.#newest.us;
  }
}

type Run = BackupPolicy["runs"][number];

function runsOf({ runs }: BackupPolicy): readonly Run[] {
  return runs.filter(({ pruneOnly }) => !pruneOnly);
}

function isSuccess({ endTime, errors }: Run): boolean {
  return endTime !== undefined && errors.length === 0;
}

function isUnderWay({ endTime, errors }: Run): boolean {
  return endTime === undefined && errors.length === 0;
}

function startS(run: Run | undefined): number | undefined {
  return run?.startTime === undefined ? undefined : timestampMs(run.startTime) / 1000;
}

/** A gauge that is read when it is asked for, and not held by anybody but its registers. */
function addGauge<T extends string>(configuration: GaugeConfiguration<T>): Gauge<T> {
  return new Gauge(configuration);
}
