import { randomUUIDv7 } from "node:crypto";
import { copyFile, link, mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Archives } from "../archive/archive.ts";
import { layoutOf } from "../collections/definitions.ts";
import { CollectorError } from "../errors.ts";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import { contentPath } from "../lib/content-list.ts";
import type { Limits } from "../lib/limits.ts";
import { removeFolder } from "../lib/remove-folder.ts";
import { siblingModule } from "../lib/sibling-module.ts";
import { wirePlanOf } from "../lib/wire-plan.ts";
import type { RecordStore, StorageEngine, StoreLocation } from "../storage/record-store.ts";
import type { StoreIntake, StoreSnapshot } from "../storage/store-copies.ts";
import type { StoreLayout } from "../storage/store-layout.ts";
import { invalidArchive, ProblemsFound } from "./archive-failures.ts";
import type { CopyRun } from "./copy-parts.ts";
import type { ChainLink } from "./installer-chain.ts";
import { writeCheckInput } from "./record-check-input.ts";
import { replayChanges } from "./replay.ts";
import type { ArchivedTypes } from "./schema-install.ts";

export interface StoreMakerOptions {
  readonly engine: StorageEngine;
  readonly archives: Archives;
  readonly limits: Limits;
  readonly identities: readonly string[];
  /** Absolute; for what is needed for a while. */
  readonly scratchFolder: string;
}

export interface ChainWork {
  readonly definition: Collection;
  readonly types: ArchivedTypes;
  readonly withoutFiles: boolean;
  readonly run: CopyRun;
}

const otherDigest = { field: "sha256", description: "is not that of the archive that came" };

/** Makes stores from archives and snapshots, at locations that no definition names yet. */
export class StoreMaker {
  readonly #options: StoreMakerOptions;

  constructor(options: StoreMakerOptions) {
    this.#options = options;
  }

  /** Unpacks a full archive and checks all of it. @throws {ProblemsFound} */
  async unpack(intake: StoreIntake, archive: ChainLink, work: ChainWork): Promise<void> {
    const { manifest, contents } = archive;
    const { definition, types, withoutFiles, run } = work;
    const targets = new Map([["database", intake.dataPath]]);
    const contentsFolder = withoutFiles ? undefined : intake.contentsFolder;
    await this.#unpack(archive, targets, contentsFolder, run);
    run.report({ phase: "verifying" });
    run.signal.throwIfAborted();
    const found = await intake.check(
      {
        format: manifest.storeFormat,
        revision: manifest.revision,
        incarnation: manifest.incarnation,
        recordCount: manifest.recordCount,
        files: { count: manifest.fileCount, bytes: manifest.fileBytes },
        layout: archivedLayout(definition, manifest),
        contents: withoutFiles ? undefined : contents,
      },
      {
        module: siblingModule(import.meta.url, "record-check").href,
        input: writeCheckInput({
          typeName: types.desc.typeName,
          plan: wirePlanOf(types.desc),
          descriptors: types.descriptors,
        }),
      },
      {
        signal: run.signal,
        onProgress: (progress) => run.report({ ...progress, phase: "verifying" }),
      },
    );
    if (found.length === 0) return;
    throw new ProblemsFound(
      found.map((description) => {
        return { archive: archive.index, part: "database", offset: -1n, description };
      }),
      false,
    );
  }

  /**
   * Applies incremental archives, one after the other, to a store that has the revision that the first is based on.
   * All contents stay until the last is applied: earlier versions left out of an archive what any one before it has,
   * also if it was without a name in between.
   *
   * @throws {ProblemsFound}
   */
  async applyAll(
    store: RecordStore,
    archives: readonly ChainLink[],
    work: ChainWork,
  ): Promise<void> {
    using _held = store.files.hold();
    for (const archive of archives) await this.#apply(store, archive, work);
  }

  async #apply(store: RecordStore, archive: ChainLink, work: ChainWork): Promise<void> {
    const { manifest, contents } = archive;
    const { definition, types, withoutFiles, run } = work;
    const folder = join(this.#options.scratchFolder, randomUUIDv7());
    await mkdir(folder, { recursive: true });
    try {
      const changes = join(folder, "changes");
      const targets = new Map([["changes", changes]]);
      const hasFiles = manifest.includeFiles && !withoutFiles;
      const contentsFolder = join(folder, "files");
      await mkdir(contentsFolder);
      await this.#unpack(archive, targets, hasFiles ? contentsFolder : undefined, run);
      const pathOf = (sha256: string): string => contentPath(contentsFolder, sha256);
      run.report({ phase: "applying changes" });
      run.signal.throwIfAborted();
      await replayChanges({
        store,
        changes,
        definition,
        types,
        limits: this.#options.limits,
        from: manifest.base?.revision ?? 0n,
        to: manifest.revision,
        contentOf: hasFiles ? (sha) => (contents.has(sha) ? pathOf(sha) : undefined) : undefined,
        signal: run.signal,
      });
    } finally {
      await removeFolder(folder);
    }
  }

  /** Compares with what the archive says that the collection has. @throws {CollectorError} ARCHIVE_INVALID */
  async checkCounts(store: RecordStore, archive: ChainLink, work: ChainWork): Promise<void> {
    const { recordCount, fileCount, includeFiles } = archive.manifest;
    const stats = await store.stats();
    // Records go by themselves where there is an expiry, and their files with them.
    const mayExpire = work.definition.expiry !== undefined;
    const isRight = (found: bigint, wanted: bigint): boolean =>
      mayExpire ? found <= wanted : found === wanted;
    if (!isRight(stats.recordCount, recordCount)) {
      throw invalidArchive(
        `it has ${stats.recordCount} records, not the ${recordCount} it tells of`,
      );
    }
    if (work.withoutFiles || !includeFiles) return;
    const files = await store.files.stats();
    if (isRight(files.count, fileCount)) return;
    throw invalidArchive(`it has ${files.count} files, not the ${fileCount} it tells of`);
  }

  /** Completes an intake at a place that no definition names. What an earlier failure left there goes. */
  async complete(intake: StoreIntake, location: StoreLocation): Promise<RecordStore> {
    const { engine } = this.#options;
    if (await engine.exists(location)) await engine.drop(location);
    await intake.complete(location);
    return engine.store(location);
  }

  async #unpack(
    archive: ChainLink,
    targets: ReadonlyMap<string, string>,
    contentsFolder: string | undefined,
    run: CopyRun,
  ): Promise<void> {
    const { archives, identities } = this.#options;
    run.report({ phase: "unpacking" });
    run.signal.throwIfAborted();
    const { faults, sha256 } = await archives.unpack({
      path: archive.path,
      identities,
      targets,
      contentsFolder,
      signal: run.signal,
      onProgress: (progress) => run.report({ ...progress, phase: "unpacking" }),
    });
    if (faults.length === 0) {
      if (archive.sha256 === "" || archive.sha256 === sha256) return;
      throw new CollectorError(
        "ARCHIVE_DAMAGED",
        "sha256: the archive that came is not the one that was announced: it has another SHA-256",
        { subject: { part: "trailer" }, violations: [otherDigest] },
      );
    }
    throw new ProblemsFound(
      faults.map((fault) => ({ archive: archive.index, ...fault })),
      true,
    );
  }
}

/** What the data of an archive serves: not all that the definition says if that was being changed. */
function archivedLayout(definition: Collection, { indexes }: ArchiveManifest): StoreLayout {
  const layout = layoutOf(definition);
  return indexes === undefined
    ? layout
    : { ...layout, indexes: indexes.fields.map((path) => ({ path })) };
}

/** Gives an intake the contents of a snapshot: as links where that is possible. */
export async function linkContents(
  intake: StoreIntake,
  { contents: { list, folder } }: StoreSnapshot,
  { signal }: CopyRun,
): Promise<void> {
  const made = new Set<string>();
  for (const { sha256 } of list) {
    signal.throwIfAborted();
    const target = contentPath(intake.contentsFolder, sha256);
    if (!made.has(dirname(target))) await mkdir(dirname(target), { recursive: true });
    made.add(dirname(target));
    await linkOrCopy(contentPath(folder, sha256), target);
  }
}

async function linkOrCopy(path: string, target: string): Promise<void> {
  try {
    await link(path, target);
  } catch {
    // Another file system, or one without links.
    try {
      await copyFile(path, target);
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : undefined;
      const isFull = code === "ENOSPC" || code === "EDQUOT";
      throw new CollectorError(
        isFull ? "DISK_FULL" : "STORAGE_UNAVAILABLE",
        isFull ? "there is no room on the disk for a copy" : "a file could not be copied",
        { cause: error },
      );
    }
  }
}
