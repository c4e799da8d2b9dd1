import { stat } from "node:fs/promises";
import { KeyedLock } from "../../collections/keyed-lock.ts";
import { CollectorError } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import type { BackupMetadata } from "../../gen/collector/collection_repo_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import { tellOf } from "./failure-text.ts";
import { isCountedBy, isOver, type KnownBackup, knownBackup, rulesOf } from "./known-backups.ts";
import { BackupChains } from "./retention.ts";
import { unwantedBackups } from "./unwanted-backups.ts";

export interface PrunerOptions {
  readonly backups: Pick<BackupCatalog, "all" | "chainOf" | "delete" | "isHeld">;
  readonly clock: Clock;
  readonly log: Log;
}

/** What was removed, and what could not be. */
export interface Pruned {
  readonly deletedIds: readonly string[];
  readonly errors: readonly string[];
}

/** How often archives that others rely on may turn out to be missing before nothing is removed. */
const roundsMax = 8;

/** There is one removal at a time: each has to see what the one before has left. */
const everyBackup = "";

/** Removes backups that nobody asked to keep. */
export class Pruner {
  readonly #options: PrunerOptions;
  readonly #turns = new KeyedLock();

  constructor(options: PrunerOptions) {
    this.#options = options;
  }

  /**
   * Backups that a policy does not keep, in an order in which they can go.
   *
   * @param planned backups that are counted as if they had been made
   * @throws {CollectorError} STORAGE_UNAVAILABLE if so many archives are missing that none should go
   */
  notKeptBy(
    policy: BackupPolicy,
    planned: readonly KnownBackup[] = [],
  ): Promise<readonly BackupMetadata[]> {
    const { retention } = policy;
    if (retention === undefined) return Promise.resolve([]);
    const rules = rulesOf(retention);
    return this.#removable(
      planned,
      (backup) => isCountedBy(policy, backup),
      (chains, nowUs) => unwantedBackups(rules, chains, nowUs),
    );
  }

  /** Removes what a policy does not keep. Ends early, between two of them, if the signal fires. */
  prune(policy: BackupPolicy, signal: AbortSignal): Promise<Pruned> {
    return this.#turns.run([everyBackup], () => this.#remove(this.notKeptBy(policy), signal));
  }

  /** Removes the backups whose own retention is over. */
  async sweep(signal: AbortSignal): Promise<Pruned> {
    const nowUs = this.#options.clock.nowUs();
    const isExpired = (backup: BackupMetadata): boolean => isOver(backup, nowUs);
    if (!this.#options.backups.all().some(isExpired)) return { deletedIds: [], errors: [] };
    return await this.#turns.run([everyBackup], () => {
      const none = (): boolean => false;
      const expired = this.#removable([], none, ({ backups }) => {
        const over = backups.filter(({ backup }) => backup !== undefined && isExpired(backup));
        return new Set(over.map(({ id }) => id));
      });
      return this.#remove(expired, signal);
    });
  }

  /** What of the unwanted can go; see {@link BackupChains.removable}. */
  async #removable(
    planned: readonly KnownBackup[],
    isCountedBackup: (backup: BackupMetadata) => boolean,
    unwantedOf: (chains: BackupChains<KnownBackup>, nowUs: bigint) => ReadonlySet<string>,
  ): Promise<readonly BackupMetadata[]> {
    const { backups, clock } = this.#options;
    const nowUs = clock.nowUs();
    const missing = new Set<string>();
    for (let round = 0; round < roundsMax; round += 1) {
      const known = backups.all().map((backup) =>
        knownBackup(backup, {
          isCounted: isCountedBackup(backup),
          isHeld: backups.isHeld(backup.backupId),
          isMissing: missing.has(backup.backupId),
        }),
      );
      const chains = new BackupChains([...known, ...planned], nowUs);
      const removable = chains.removable(unwantedOf(chains, nowUs), isCounted);
      const affected = new Set(removable.map(({ of }) => of));
      // It is for these that the others may go, so they had better be there.
      const relied = chains
        .lasting(isCounted)
        .filter(({ of }) => affected.has(of))
        .flatMap((backup) => chains.chainOf(backup));
      const lost = await this.#missingOf(relied);
      if (lost.length === 0) return removable.flatMap(({ backup }) => backup ?? []);
      for (const id of lost) missing.add(id);
    }
    throw new CollectorError(
      "STORAGE_UNAVAILABLE",
      "so many archives are missing in the backup folder that no backup is removed",
    );
  }

  /** Those whose archive is not there, or has another size than it was written with. */
  async #missingOf(known: readonly KnownBackup[]): Promise<readonly string[]> {
    const missing = new Set<string>();
    for (const { id, backup } of known) {
      if (backup !== undefined && !(await this.#isThere(backup))) missing.add(id);
    }
    return [...missing];
  }

  async #isThere({ backupId, sizeBytes }: BackupMetadata): Promise<boolean> {
    try {
      const path = this.#options.backups.chainOf(backupId).at(-1)?.path ?? "";
      const { size } = await stat(path, { bigint: true });
      return size === sizeBytes;
    } catch (error) {
      this.#options.log.warn({ backup: backupId, err: error }, "the archive cannot be found");
      return false;
    }
  }

  async #remove(
    planning: Promise<readonly BackupMetadata[]>,
    signal: AbortSignal,
  ): Promise<Pruned> {
    const { backups, log } = this.#options;
    const deletedIds: string[] = [];
    const errors: string[] = [];
    try {
      for (const { backupId } of await planning) {
        if (signal.aborted) break;
        try {
          await backups.delete(backupId);
          deletedIds.push(backupId);
        } catch (error) {
          // Somebody was faster, or has begun to read it: then it is the next one's turn.
          if (!isOvertaken(error)) errors.push(`backup ${backupId}: ${tellOf(error, log)}`);
        }
      }
    } catch (error) {
      errors.push(tellOf(error, log));
    }
    return { deletedIds, errors };
  }
}

function isCounted({ isCounted }: KnownBackup): boolean {
  return isCounted;
}

function isOvertaken(error: unknown): boolean {
  const reasons = ["BACKUP_NOT_FOUND", "BACKUP_IN_USE"];
  return error instanceof CollectorError && reasons.includes(error.reason);
}
