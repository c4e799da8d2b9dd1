import { type KnownBackup, registryId } from "./known-backups.ts";
import { BackupChains, type KeepRules, type RetainedBackup, unwantedBy } from "./retention.ts";

/**
 * The counted backups that the rules do not keep: of those that are of no set by what they are of, and of sets
 * by what is kept of the sets.
 */
export function unwantedBackups(
  rules: KeepRules,
  chains: BackupChains<KnownBackup>,
  nowUs: bigint,
): ReadonlySet<string> {
  const isAlone = ({ isCounted, setId }: KnownBackup): boolean => isCounted && setId === "";
  const unwanted = new Set(unwantedBy(rules, chains, isAlone));
  const sets = Map.groupBy(
    chains.backups.filter(({ isCounted, setId }) => isCounted && setId !== ""),
    ({ setId }) => setId,
  );
  const asOne = new BackupChains(
    Array.from(sets, ([id, members]) => setOf(id, members, chains)),
    nowUs,
  );
  for (const id of unwantedBy(rules, asOne, () => true)) {
    for (const member of sets.get(id) ?? []) unwanted.add(member.id);
  }
  return unwanted;
}

/** A set as the rules see it. Its registry is written last, so one without it was cut, and takes no place. */
function setOf(
  id: string,
  members: readonly KnownBackup[],
  chains: BackupChains<KnownBackup>,
): RetainedBackup {
  const registry = members.find(({ of }) => of === registryId);
  const newestUs = members.reduce((us, { momentUs }) => (momentUs > us ? momentUs : us), 0n);
  return {
    id,
    of: "",
    baseId: "",
    momentUs: registry?.momentUs ?? newestUs,
    isSound: registry !== undefined && members.every((member) => chains.isValid(member)),
    isHeld: false,
  };
}
