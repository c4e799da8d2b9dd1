import type { CollectionCatalog } from "../collections/catalog.ts";
import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import type { BackupCatalog, CreateBackup } from "./backup-parts.ts";
import type { CopyRun } from "./copy-parts.ts";

/** A collection that is to be backed up, as it was called when it was listed. It is known by its id. */
export type ListedCollection = Pick<Collection, "namespace" | "name" | "collectionId">;

export interface ListedBackupParts {
  readonly backups: Pick<BackupCatalog, "create">;
  readonly catalog: Pick<CollectionCatalog, "definitionsIn" | "find">;
}

/** What a backup of any collection is asked for with. */
export type BackupOfListed = Omit<CreateBackup, "namespace" | "name" | "collectionId">;

/** How often a collection is looked for again that has another name, or changes, whenever its turn comes. */
const attemptsMax = 5;

const missed: ReadonlySet<string> = new Set(["COLLECTION_NOT_FOUND", "COLLECTION_REPLACED"]);

/**
 * Makes a backup of a collection under the name that it has by then, whatever has that name which it was listed by.
 *
 * @param onName is told of that name before; what it throws ends this
 * @returns undefined if the collection was deleted since
 * @throws {CollectorError} as {@link BackupCatalog.create}
 */
export async function backUpListed(
  { backups, catalog }: ListedBackupParts,
  listed: ListedCollection,
  request: BackupOfListed,
  run: CopyRun,
  onName: (current: ListedCollection) => void = () => undefined,
): Promise<BackupMetadata | undefined> {
  for (let attempt = 1; ; attempt += 1) {
    const current = currentOf(listed, catalog);
    if (current === undefined) return undefined;
    onName(current);
    const { namespace, name, collectionId } = current;
    try {
      return await backups.create({ ...request, namespace, name, collectionId }, run);
    } catch (error) {
      const isMissed = error instanceof CollectorError && missed.has(error.reason);
      if (!isMissed || attempt === attemptsMax) throw error;
      run.signal.throwIfAborted();
    }
  }
}

function currentOf(
  { namespace, name, collectionId }: ListedCollection,
  catalog: ListedBackupParts["catalog"],
): ListedCollection | undefined {
  const found = catalog.find(namespace, name);
  if (found?.collectionId === collectionId) return found;
  return catalog.definitionsIn(namespace).find((one) => one.collectionId === collectionId);
}
