import type { CollectionCatalog } from "../../collections/catalog.ts";
import { CollectorError } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import { Compression } from "../../gen/collector/collection_repo_pb.ts";
import { forEachBounded } from "../../lib/bounded.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { type BackupCatalog, chainMax } from "../backup-parts.ts";
import type { CopyRun } from "../copy-parts.ts";
import { fullEveryOf } from "./check-policy.ts";
import { tellOf } from "./failure-text.ts";
import { hasOwnRetention, type KnownBackup, subjectOf } from "./known-backups.ts";

export interface PolicyBackupsOptions {
  readonly backups: Pick<BackupCatalog, "all" | "chainOf" | "create">;
  readonly catalog: Pick<CollectionCatalog, "definitionsIn">;
  readonly limits: Pick<Limits, "copiesMax">;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a run has done so far. */
export interface RunOutcome {
  readonly madeIds: string[];
  readonly deletedIds: string[];
  readonly errors: string[];
  bytesWritten: bigint;
}

interface Reached {
  readonly namespace: string;
  readonly name: string;
  readonly collectionId: string;
}

/** Makes the backups of policies. */
export class PolicyBackups {
  readonly #options: PolicyBackupsOptions;

  constructor(options: PolicyBackupsOptions) {
    this.#options = options;
  }

  /**
   * Makes a backup of every collection in reach, up to `copiesMax` at a time. One that fails is noted, and
   * the others are made nevertheless.
   *
   * @throws the signal's reason if it fires; what was made stays, and is noted
   */
  async make(policy: BackupPolicy, outcome: RunOutcome, run: CopyRun): Promise<void> {
    const reached = this.#reachOf(policy);
    if (reached.length === 0 && policy.namespace !== "") {
      const { namespace, collectionName } = policy;
      const missing = collectionName === "" ? "collection" : `collection ${collectionName}`;
      outcome.errors.push(`namespace ${namespace} has no ${missing}`);
    }
    const { limits, log } = this.#options;
    const total = BigInt(reached.length);
    let done = 0n;
    await forEachBounded(reached, limits.copiesMax, async (collection) => {
      const of = `${collection.namespace}/${collection.name}`;
      run.signal.throwIfAborted();
      const report: CopyRun["report"] = ({ phase = "" }) => {
        run.report({ done, total, phase: phase === "" ? of : `${of}: ${phase}` });
      };
      report({});
      try {
        await this.#makeOne(policy, collection, outcome, { signal: run.signal, report });
      } catch (error) {
        run.signal.throwIfAborted();
        const isExpected = isGone(error) && policy.collectionName === "";
        if (!isExpected) outcome.errors.push(`${of}: ${tellOf(error, log)}`);
      }
      done += 1n;
      report({});
    });
  }

  /** The backups that a run would make now, if all of them can be made. */
  planned(policy: BackupPolicy): KnownBackup[] {
    const momentUs = this.#options.clock.nowUs();
    return this.#reachOf(policy).map((collection, index) => ({
      // Sorts behind every id, so it is newer than what is of the same moment.
      id: `~${index}`,
      of: collection.collectionId,
      baseId: this.#baseFor(policy, collection) ?? "",
      momentUs,
      isSound: true,
      isHeld: false,
      isCounted: !hasOwnRetention(policy.metadata),
      backup: undefined,
    }));
  }

  async #makeOne(
    policy: BackupPolicy,
    collection: Reached,
    outcome: RunOutcome,
    run: CopyRun,
  ): Promise<void> {
    const { namespace, name } = collection;
    const base = this.#baseFor(policy, collection);
    const request = {
      namespace,
      name,
      destPath: "",
      includeFiles: !policy.excludeFiles,
      metadata: policy.metadata,
      baseBackupId: "",
      incremental: base !== undefined,
      preferredBaseId: base,
      compression: Compression.UNSPECIFIED,
      policy: policy.name,
    };
    const { backups } = this.#options;
    const backup = await backups.create(request, run).catch((error: unknown) => {
      const isChanged = error instanceof CollectorError && error.reason === "COLLECTION_REPLACED";
      // The definition changed meanwhile, which does not happen often.
      if (isChanged && !run.signal.aborted) return backups.create(request, run);
      throw error;
    });
    outcome.madeIds.push(backup.backupId);
    outcome.bytesWritten += backup.sizeBytes;
  }

  /** What an incremental backup is to be based on; undefined: it is to hold everything. */
  #baseFor(policy: BackupPolicy, { collectionId }: Reached): string | undefined {
    if (!policy.incremental) return undefined;
    const { backups } = this.#options;
    // Only its own: to be based on another's would keep that one from being removed.
    const newest = backups
      .all()
      .find(
        (backup) =>
          backup.policy === policy.name &&
          subjectOf(backup) === collectionId &&
          backup.includesFiles === !policy.excludeFiles,
      );
    if (newest === undefined) return undefined;
    try {
      const chain = backups.chainOf(newest.backupId);
      const isSound = chain.every(({ backup }) => backup.verifyError === "");
      const lengthMax = Math.min(fullEveryOf(policy), chainMax - 1);
      return isSound && chain.length <= lengthMax ? newest.backupId : undefined;
    } catch (error) {
      // What it was based on is not known here.
      if (isGone(error)) return undefined;
      throw error;
    }
  }

  #reachOf({ namespace, collectionName }: BackupPolicy): readonly Reached[] {
    return this.#options.catalog
      .definitionsIn(namespace)
      .filter(({ name }) => collectionName === "" || name === collectionName);
  }
}

function isGone(error: unknown): boolean {
  const reasons = ["BACKUP_NOT_FOUND", "COLLECTION_NOT_FOUND"];
  return error instanceof CollectorError && reasons.includes(error.reason);
}
