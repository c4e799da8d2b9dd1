import type { BackupPolicy, BackupPolicy_Retention } from "../../gen/collector/backups_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
} from "../../gen/collector/collection_repo_pb.ts";
import { usOf } from "../../lib/timestamps.ts";
import { momentUsOf } from "../backup-moment.ts";
import { BackupChains, type KeepRules, type RetainedBackup } from "./retention.ts";
import { readRetention, retentionKey } from "./retention-period.ts";

/** A backup as the rules see it, and what is known of it. */
export interface KnownBackup extends RetainedBackup {
  /** Undefined: it is only planned. */
  readonly backup: BackupMetadata | undefined;
  /** Empty: it is of none. */
  readonly setId: string;
  /** True if the rules of the policy that is asked about count it. */
  readonly isCounted: boolean;
}

/** A backup as the rules see it: whether it is counted, read at the moment, or was found missing. */
export function knownBackup(
  backup: BackupMetadata,
  flags: { readonly isCounted: boolean; readonly isHeld: boolean; readonly isMissing: boolean },
): KnownBackup {
  const { backupId: id, baseBackupId: baseId, setId, verifyError } = backup;
  const { isCounted, isHeld, isMissing } = flags;
  return {
    id,
    baseId,
    of: subjectOf(backup),
    momentUs: momentUsOf(backup),
    isSound: verifyError === "" && !isMissing,
    isHeld,
    isCounted,
    setId,
    backup,
  };
}

/**
 * The moment of the newest valid backup of each collection, by its id. One that has yet to come counts only
 * where there is no other.
 */
export function newestMoments(
  backups: readonly BackupMetadata[],
  nowUs: bigint,
): ReadonlyMap<string, bigint> {
  const flags = { isCounted: true, isHeld: false, isMissing: false };
  const known = backups.map((backup) => knownBackup(backup, flags));
  const chains = new BackupChains(known, nowUs);
  // The later ones of the list win.
  const newest = [...chains.lasting(() => true), ...chains.newestValid()];
  return new Map(newest.map(({ of, momentUs }) => [of, momentUs]));
}

/** What the backups of a registry are of: there is one on a server, and no collection has an empty id. */
export const registryId = "";

/** What a backup is of: a collection under whatever name, or the registry. */
export function subjectOf({ content, collectionId, collection }: BackupMetadata): string {
  if (content === BackupMetadata_Content.REGISTRY) return registryId;
  return collectionId === "" ? `${collection?.namespace}/${collection?.name}` : collectionId;
}

/** True if the rules of a policy count the backup, and may remove it. */
export function isCountedBy(policy: BackupPolicy, backup: BackupMetadata): boolean {
  const { collection, content } = backup;
  if (backup.setId !== "") return isSetCountedBy(policy, backup);
  if (content === BackupMetadata_Content.REGISTRY || collection === undefined) return false;
  if (policy.namespace !== "" && policy.namespace !== collection.namespace) return false;
  if (policy.collectionName !== "" && policy.collectionName !== collection.name) return false;
  if (hasOwnRetention(backup.metadata)) return false;
  if (backup.policy === policy.name) return true;
  return policy.includeManual && backup.policy === "";
}

/** A set is restored as a whole, so it is counted as a whole, by policies that make some. */
function isSetCountedBy(policy: BackupPolicy, backup: BackupMetadata): boolean {
  if (hasOwnRetention(backup.metadata)) return false;
  // Also those of a time when the policy made sets.
  if (backup.policy === policy.name) return true;
  return policy.wholeServer && policy.includeManual && backup.policy === "";
}

/** True if the metadata says how long to keep it, even in a way that nobody understands. */
export function hasOwnRetention(metadata: Readonly<Record<string, string>>): boolean {
  return metadata[retentionKey] !== undefined;
}

/**
 * True if the metadata says how long to keep it, and that is over. Who imports an old archive wants to use it,
 * so there the time begins anew.
 */
export function isOver(backup: BackupMetadata, nowUs: bigint): boolean {
  const retentionUs = readRetention(backup.metadata[retentionKey] ?? "");
  if (retentionUs === undefined) return false;
  const { importTime } = backup;
  const fromUs = importTime === undefined ? momentUsOf(backup) : usOf(importTime);
  return fromUs + retentionUs <= nowUs;
}

export function rulesOf(retention: BackupPolicy_Retention): KeepRules {
  const { keepLast, keepWithin, keepDaily, keepWeekly, keepMonthly } = retention;
  const withinUs = keepWithin === undefined ? 0n : usOf(keepWithin);
  return {
    last: keepLast,
    withinUs: withinUs === 0n ? undefined : withinUs,
    daily: keepDaily,
    weekly: keepWeekly,
    monthly: keepMonthly,
  };
}
