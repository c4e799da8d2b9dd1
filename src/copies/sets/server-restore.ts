import { CollectorError, invalidField } from "../../errors.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
} from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import { forEachBounded } from "../../lib/bounded.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { BackupCatalog } from "../backup-parts.ts";
import type { CopyRun } from "../copy-parts.ts";
import { attempt } from "./attempt.ts";
import type { RegistryCopies, RestoredRegistry } from "./registry-copies.ts";

export interface ServerRestoreOptions {
  readonly backups: BackupCatalog;
  readonly registryCopies: RegistryCopies;
  readonly limits: Pick<Limits, "copiesMax">;
  readonly log: Log;
}

export interface RestoreSet {
  readonly setId: string;
  /** Only this one, and not the registry; undefined: all. */
  readonly collection?: Pick<NamespacedName, "namespace" | "name"> | undefined;
  readonly overwrite: boolean;
}

/** What became of one backup of a set, or of what the set should have a backup of. */
export interface RestoredItem {
  /** Empty if the set has none. */
  readonly backupId: string;
  /** Undefined for the registry. */
  readonly collection: Pick<NamespacedName, "namespace" | "name"> | undefined;
  readonly recordCount: bigint;
  readonly fileCount: bigint;
  /** Undefined if it was restored. */
  readonly error: CollectorError | undefined;
}

/** Failures of a registry that its message tells of. */
const toldMax = 10;

/** Restores sets of backups, on the server that they are of or on another. */
export class ServerRestore {
  readonly #options: ServerRestoreOptions;

  constructor(options: ServerRestoreOptions) {
    this.#options = options;
  }

  /**
   * The backups that a request is about, that of the registry first.
   *
   * @throws {CollectorError} ARGUMENT_MISSING, BACKUP_NOT_FOUND
   */
  find({ setId, collection }: RestoreSet): readonly BackupMetadata[] {
    if (setId === "") throw invalidField("ARGUMENT_MISSING", "set_id", "names no set");
    const set = this.#options.backups.all().filter((backup) => backup.setId === setId);
    if (set.length === 0) throw notFound(setId, "there is no backup of this set");
    if (collection === undefined) {
      return [...set.filter(isRegistry), ...set.filter((backup) => !isRegistry(backup))];
    }
    const found = set.filter(
      ({ collection: of }) => of?.namespace === collection.namespace && of.name === collection.name,
    );
    if (found.length > 0) return found;
    const name = `${collection.namespace}/${collection.name}`;
    throw notFound(setId, `set ${setId} has no backup of ${name}`);
  }

  /**
   * Restores a set. What fails is answered and does not stop the rest; what was restored before a cancel
   * stays.
   *
   * @throws {CollectorError} as {@link find}; CANCELLED
   */
  async run(request: RestoreSet, run: CopyRun): Promise<readonly RestoredItem[]> {
    const [first, ...rest] = this.find(request);
    if (first === undefined) return [];
    const hasRegistry = isRegistry(first);
    const ofCollections = hasRegistry ? rest : [first, ...rest];
    // All are kept until the last is restored.
    using holds = new DisposableStack();
    for (const { backupId } of ofCollections) {
      // One whose base is gone fails when its turn comes.
      try {
        holds.use(this.#options.backups.hold(backupId));
      } catch (error) {
        if (!(error instanceof CollectorError)) throw error;
      }
    }
    if (hasRegistry) holds.use(this.#options.backups.hold(first.backupId));
    const total = BigInt(rest.length + 1);
    let done = 0n;
    const advance = (phase: string): void => run.report({ done, total, phase });
    const items: RestoredItem[] = [];
    if (request.collection === undefined) {
      advance("registry");
      items.push(
        ...(await this.#restoreRegistry(
          hasRegistry ? first : undefined,
          ofCollections,
          request,
          run,
        )),
      );
      if (hasRegistry) done += 1n;
    }
    const { limits, log } = this.#options;
    await forEachBounded(ofCollections, limits.copiesMax, async (backup) => {
      const of = `${backup.collection?.namespace ?? ""}/${backup.collection?.name ?? ""}`;
      const outcome = await attempt(run, log, () => {
        advance(of);
        return this.#options.backups.restore(
          { backupId: backup.backupId, namespace: "", name: "", overwrite: request.overwrite },
          // Several are restored at a time: how far one is says nothing of the whole.
          { signal: run.signal, report: () => undefined },
        );
      });
      const isDone = !(outcome instanceof CollectorError);
      items.push({
        backupId: backup.backupId,
        collection: backup.collection,
        recordCount: isDone ? outcome.recordCount : 0n,
        fileCount: isDone ? outcome.fileCount : 0n,
        error: isDone ? undefined : outcome,
      });
      done += 1n;
      advance(of);
    });
    return items.sort(byName);
  }

  /** @returns what became of the registry, and what the set lacks. */
  async #restoreRegistry(
    backup: BackupMetadata | undefined,
    ofCollections: readonly BackupMetadata[],
    { setId, overwrite }: RestoreSet,
    run: CopyRun,
  ): Promise<readonly RestoredItem[]> {
    const { backups, registryCopies, log } = this.#options;
    const nothing = { backupId: "", collection: undefined, recordCount: 0n, fileCount: 0n };
    if (backup === undefined) {
      const problem = `set ${setId} has no backup of the registry: it was cut before it was complete, or that is gone`;
      return [{ ...nothing, error: notFound(setId, problem) }];
    }
    const { backupId } = backup;
    const outcome = await attempt(run, log, async () => {
      const [link] = backups.chainOf(backupId);
      return registryCopies.restore(link?.path ?? "", backupId, { overwrite }, run);
    });
    if (outcome instanceof CollectorError) return [{ ...nothing, backupId, error: outcome }];
    const { entryCount: recordCount, collections } = outcome;
    const names = new Set(
      ofCollections.map(({ collection: of }) => `${of?.namespace}/${of?.name}`),
    );
    return [
      { ...nothing, backupId, recordCount, error: failureOf(outcome) },
      ...collections
        .filter(({ namespace, name }) => !names.has(`${namespace}/${name}`))
        .map((collection) => {
          const name = `${collection.namespace}/${collection.name}`;
          const error = notFound(
            setId,
            `set ${setId} has no backup of ${name}: it failed, or is gone`,
          );
          return { ...nothing, collection, error };
        }),
    ];
  }
}

function isRegistry({ content }: BackupMetadata): boolean {
  return content === BackupMetadata_Content.REGISTRY;
}

/** The registry first. */
function byName({ collection: one }: RestoredItem, { collection: other }: RestoredItem): number {
  const [a, b] = [one, other].map((of) => (of === undefined ? "" : `${of.namespace} ${of.name}`));
  return (a ?? "") < (b ?? "") ? -1 : 1;
}

/** As one failure, what could not be taken over. */
function failureOf({ failures }: RestoredRegistry): CollectorError | undefined {
  const [first] = failures;
  if (first === undefined) return undefined;
  const told = failures.slice(0, toldMax).map(({ message }) => message);
  if (failures.length > toldMax) told.push(`and ${failures.length - toldMax} more`);
  return new CollectorError(first.reason, told.join("; "), { subject: first.subject });
}

function notFound(setId: string, problem: string): CollectorError {
  return new CollectorError("BACKUP_NOT_FOUND", problem, { subject: { set: setId.slice(0, 256) } });
}
