import type { CollectionCatalog } from "../../collections/catalog.ts";
import { CollectorError } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import { type BackupMetadata, Compression } from "../../gen/collector/collection_repo_pb.ts";
import { forEachBounded } from "../../lib/bounded.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { momentUsOf } from "../backup-moment.ts";
import { type BackupCatalog, chainMax } from "../backup-parts.ts";
import type { CopyRun } from "../copy-parts.ts";
import { backUpListed, type ListedCollection } from "../listed-collection.ts";
import type { ServerBackup } from "../sets/server-backup.ts";
import { fullEveryOf } from "./check-policy.ts";
import { tellOf } from "./failure-text.ts";
import { hasOwnRetention, type KnownBackup, registryId, subjectOf } from "./known-backups.ts";

export interface PolicyBackupsOptions {
  readonly backups: Pick<BackupCatalog, "all" | "chainOf" | "create">;
  readonly catalog: Pick<CollectionCatalog, "definitionsIn" | "find">;
  readonly sets: Pick<ServerBackup, "make">;
  readonly limits: Pick<Limits, "copiesMax">;
  readonly clock: Clock;
  readonly log: Log;
}

/** What a run has done so far. */
export interface RunOutcome {
  /** Empty unless the policy makes sets, and the run has made a backup. */
  setId: string;
  readonly madeIds: string[];
  readonly deletedIds: string[];
  readonly errors: string[];
  bytesWritten: bigint;
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
    if (policy.wholeServer) {
      await this.#makeSet(policy, outcome, run);
      return;
    }
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
        const backup = await this.#makeOne(policy, collection, { signal: run.signal, report });
        if (backup !== undefined) this.#noteMade(outcome, backup);
        else if (policy.collectionName !== "") outcome.errors.push(`${of}: it was deleted`);
      } catch (error) {
        run.signal.throwIfAborted();
        outcome.errors.push(`${of}: ${tellOf(error, log)}`);
      }
      done += 1n;
      report({});
    });
  }

  /** The backups that a run would make now, if all of them can be made. */
  planned(policy: BackupPolicy): KnownBackup[] {
    const plan = (of: string, baseId = ""): Omit<KnownBackup, "id"> => ({
      of,
      baseId,
      momentUs: this.#options.clock.nowUs(),
      isSound: true,
      isHeld: false,
      isCounted: !hasOwnRetention(policy.metadata),
      setId: policy.wholeServer ? "~" : "",
      backup: undefined,
    });
    const planned = this.#reachOf(policy).map((collection) =>
      plan(collection.collectionId, this.#baseFor(policy, collection)),
    );
    if (policy.wholeServer) planned.push(plan(registryId));
    // Sorts behind every id, so it is newer than what is of the same moment.
    return planned.map((backup, index) => ({ ...backup, id: `~${index}` }));
  }

  async #makeSet(policy: BackupPolicy, outcome: RunOutcome, run: CopyRun): Promise<void> {
    const { name, metadata, excludeFiles, incremental } = policy;
    const request = {
      policy: name,
      metadata,
      excludeFiles,
      incremental,
      destPath: "",
      namespace: "",
      compression: Compression.UNSPECIFIED,
      baseOf: (collectionId: string) => this.#baseFor(policy, { collectionId }),
    };
    const { failures } = await this.#options.sets.make(request, run, (backup) => {
      outcome.setId = backup.setId;
      this.#noteMade(outcome, backup);
    });
    const { log } = this.#options;
    outcome.errors.push(...failures.map(({ of, error }) => `${of}: ${tellOf(error, log)}`));
  }

  #noteMade(outcome: RunOutcome, { backupId, sizeBytes }: BackupMetadata): void {
    outcome.madeIds.push(backupId);
    outcome.bytesWritten += sizeBytes;
  }

  /** @returns undefined if the collection was deleted since */
  async #makeOne(
    policy: BackupPolicy,
    collection: ListedCollection,
    run: CopyRun,
  ): Promise<BackupMetadata | undefined> {
    const base = this.#baseFor(policy, collection);
    const request = {
      destPath: "",
      includeFiles: !policy.excludeFiles,
      metadata: policy.metadata,
      baseBackupId: "",
      incremental: base !== undefined,
      preferredBaseId: base,
      compression: Compression.UNSPECIFIED,
      policy: policy.name,
    };
    return await backUpListed(this.#options, collection, request, run);
  }

  /** What an incremental backup is to be based on; undefined: it is to hold everything. */
  #baseFor(
    policy: BackupPolicy,
    { collectionId }: Pick<ListedCollection, "collectionId">,
  ): string | undefined {
    if (!policy.incremental) return undefined;
    const { backups, clock } = this.#options;
    const nowUs = clock.nowUs();
    // Only its own: to be based on another's would keep that one from being removed. And none that a clock
    // made when it was ahead: that would be the newest for long, so that nothing was made anew.
    const newest = backups
      .all()
      .find(
        (backup) =>
          backup.policy === policy.name &&
          subjectOf(backup) === collectionId &&
          backup.includesFiles === !policy.excludeFiles &&
          momentUsOf(backup) <= nowUs,
      );
    if (newest === undefined) return undefined;
    try {
      const chain = backups.chainOf(newest.backupId);
      const isSound = chain.every(({ backup }) => backup.verifyError === "");
      const lengthMax = Math.min(fullEveryOf(policy), chainMax - 1);
      return isSound && chain.length <= lengthMax ? newest.backupId : undefined;
    } catch (error) {
      // What it was based on is not known here.
      if (error instanceof CollectorError && error.reason === "BACKUP_NOT_FOUND") return undefined;
      throw error;
    }
  }

  #reachOf({ namespace, collectionName }: BackupPolicy): readonly ListedCollection[] {
    return this.#options.catalog
      .definitionsIn(namespace)
      .filter(({ name }) => collectionName === "" || name === collectionName);
  }
}
