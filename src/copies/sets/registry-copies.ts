import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Archives } from "../../archive/archive.ts";
import { checkCollectionName } from "../../collections/names.ts";
import { CollectorError } from "../../errors.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  type Compression,
} from "../../gen/collector/collection_repo_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import type { RegisteredProto, RegisteredService } from "../../gen/collector/registry_pb.ts";
import { Turns } from "../../lib/turns.ts";
import { countEntries, entriesOf, type NamespaceMoment } from "../../registry/moment.ts";
import { checkNamespaceName, systemNamespace } from "../../registry/names.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ArchivedNamespace } from "../../registry/restoration.ts";
import { invalidArchive, ProblemsFound } from "../archive-failures.ts";
import { ofAnother } from "../backup-identity.ts";
import type { ArchiveProblem, CopyRun, NoteDigest } from "../copy-parts.ts";
import { EncodedEntries, type PartEntry, type ReadEntry } from "./registry-entry.ts";
import { readRegistryPart, writeRegistryPart } from "./registry-part.ts";

export interface RegistryCopiesOptions {
  readonly registry: Registry;
  readonly archives: Archives;
  readonly identities: readonly string[];
  readonly collectorId: string;
  readonly serverVersion: string;
  /** Absolute; exists, and is emptied at start by its owner. */
  readonly scratchFolder: string;
}

export interface WriteRegistryRequest {
  /** What was registered at the moment that the archive is of. */
  readonly namespaces: readonly NamespaceMoment[];
  readonly moment: Timestamp;
  /** Collections of the set. */
  readonly collections: readonly NamespacedName[];
  readonly path: string;
  readonly compression: Compression;
  readonly recipients: readonly string[];
  readonly backup: Pick<BackupMetadata, "backupId" | "metadata" | "setId" | "policy">;
}

/** What was taken over from an archive of a registry. */
export interface RestoredRegistry {
  /** Namespaces, versions of files and services that it has, those that were there already included. */
  readonly entryCount: bigint;
  /** The collections that the set should have backups of. */
  readonly collections: readonly NamespacedName[];
  /** What could not be taken over; of each namespace its settings or its content. */
  readonly failures: readonly CollectorError[];
}

/** Problems that are told of one archive. */
const problemsMax = 100;

/** Entries of one namespace, and collections of a set, that an archive may have. */
const entriesMax = 1_000_000;

/** Writes archives of the registry, reads them and takes over what is in them. */
export class RegistryCopies {
  readonly #options: RegistryCopiesOptions;
  /** What a namespace takes in memory, no matter how it is packed, it takes once at a time. */
  readonly #reading = new Turns(1);

  constructor(options: RegistryCopiesOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} QUOTA_EXCEEDED, DISK_FULL, CANCELLED. Then nothing is left at the path. */
  async write(
    request: WriteRegistryRequest,
    run: CopyRun,
  ): Promise<{
    readonly sizeBytes: bigint;
    readonly sha256: string;
    readonly contentBytes: bigint;
  }> {
    const { archives, collectorId, serverVersion } = this.#options;
    const { namespaces, moment, collections, path, compression, recipients, backup } = request;
    const scratch = this.#scratch();
    try {
      await writeRegistryPart(scratch, partEntries(namespaces, collections), run.signal);
      const { manifest, sizeBytes, sha256 } = await archives.pack({
        path,
        manifest: {
          content: BackupMetadata_Content.REGISTRY,
          moment,
          recordCount: entryCount(namespaces),
          collectorId,
          serverVersion,
          compression,
          ...backup,
        },
        parts: [{ name: "registry", path: scratch }],
        recipients,
        signal: run.signal,
      });
      const contentBytes = manifest.parts.reduce((sum, part) => sum + part.sizeBytes, 0n);
      return { sizeBytes, sha256, contentBytes };
    } finally {
      await rm(scratch, { force: true });
    }
  }

  /** Reads all of an archive: it parses, and the types of each namespace link. Empty: nothing is wrong. */
  async verify(
    path: string,
    backupId: string,
    run: CopyRun,
    noteDigest?: NoteDigest,
  ): Promise<readonly ArchiveProblem[]> {
    const problems: ArchiveProblem[] = [];
    const note = (description: string): void => {
      const problem = { archive: 0, part: "registry", offset: -1n, description };
      if (problems.length < problemsMax) problems.push(problem);
    };
    try {
      await this.#unpacked({ path, backupId, noteDigest }, run, (entries, count) =>
        readNamespaces(entries(), count, async (archived) => {
          try {
            await this.#options.registry.checkArchived(archived);
          } catch (error) {
            if (!(error instanceof CollectorError)) throw error;
            note(`namespace ${archived.namespace.name}: ${error.message}`);
          }
        }),
      );
    } catch (error) {
      if (error instanceof ProblemsFound) return error.problems;
      if (!(error instanceof CollectorError) || error.reason !== "ARCHIVE_INVALID") throw error;
      note(error.message);
    }
    return problems;
  }

  /**
   * Takes over what is in an archive, namespace by namespace, once all of it was read.
   *
   * @throws {CollectorError} ARCHIVE_INVALID, ARCHIVE_DAMAGED, ARCHIVE_TOO_NEW, KEY_UNAVAILABLE; then
   * nothing has changed. What of it could not be taken over is answered.
   */
  async restore(
    path: string,
    backupId: string,
    { overwrite }: { readonly overwrite: boolean },
    run: CopyRun,
  ): Promise<RestoredRegistry> {
    const failures: CollectorError[] = [];
    try {
      const read = await this.#unpacked({ path, backupId }, run, async (entries, count) => {
        await readNamespaces(entries(), count, () => Promise.resolve());
        return readNamespaces(entries(), count, async (archived) => {
          run.signal.throwIfAborted();
          failures.push(...(await this.#options.registry.restoreNamespace(archived, overwrite)));
        });
      });
      return { ...read, failures };
    } catch (error) {
      throw error instanceof ProblemsFound ? error.toError() : error;
    }
  }

  /** @throws {ProblemsFound} for bytes that were changed */
  async #unpacked(
    {
      path,
      backupId,
      noteDigest,
    }: {
      readonly path: string;
      readonly backupId: string;
      readonly noteDigest?: NoteDigest | undefined;
    },
    run: CopyRun,
    read: (entries: () => AsyncIterable<ReadEntry>, count: bigint) => Promise<ReadRegistry>,
  ): Promise<ReadRegistry> {
    const { archives, identities } = this.#options;
    const scratch = this.#scratch();
    try {
      const { manifest, faults, sha256 } = await archives.unpack({
        path,
        identities,
        targets: new Map([["registry", scratch]]),
        signal: run.signal,
      });
      if (faults.length > 0) {
        throw new ProblemsFound(
          faults.map((fault) => ({ archive: 0, ...fault })),
          true,
        );
      }
      if (sha256 !== undefined) noteDigest?.(0, sha256);
      const isRegistry = manifest?.content === BackupMetadata_Content.REGISTRY;
      const [part, ...others] = manifest?.parts ?? [];
      if (!isRegistry || part?.name !== "registry" || others.length > 0) {
        throw invalidArchive("it is not of a registry");
      }
      if (manifest.backupId !== backupId) throw ofAnother(backupId);
      using _ = await this.#reading.take(run.signal);
      return await read(() => readRegistryPart(scratch, run.signal), manifest.recordCount);
    } finally {
      await rm(scratch, { force: true });
    }
  }

  #scratch(): string {
    return join(this.#options.scratchFolder, `registry-${randomUUID()}`);
  }
}

/** Namespaces, versions of files and services. */
export function entryCount(namespaces: readonly NamespaceMoment[]): bigint {
  return namespaces.reduce((sum, namespace) => sum + BigInt(countEntries(namespace)), 0n);
}

function* partEntries(
  namespaces: readonly NamespaceMoment[],
  collections: readonly NamespacedName[],
): Iterable<PartEntry> {
  for (const namespace of namespaces) yield* entriesOf(namespace);
  for (const value of collections) yield { kind: "collection", value };
}

interface ReadRegistry {
  /** Namespaces, versions of files and services. */
  readonly entryCount: bigint;
  readonly collections: readonly NamespacedName[];
}

/**
 * Reads a registry namespace by namespace, so that one at a time is in memory, most of it as bytes.
 *
 * @param count entries that there have to be, collections left out
 * @throws {CollectorError} ARCHIVE_INVALID
 */
async function readNamespaces(
  entries: AsyncIterable<ReadEntry>,
  count: bigint,
  use: (archived: ArchivedNamespace) => Promise<void>,
): Promise<ReadRegistry> {
  const seen = new Set<string>();
  const collections: NamespacedName[] = [];
  let entryCount = 0n;
  let current: GrowingNamespace | undefined;
  for await (const entry of entries) {
    const { kind, value } = entry;
    if (entryCount + BigInt(collections.length) >= entriesMax) {
      throw invalidArchive(`it has over ${entriesMax} entries`);
    }
    if (kind === "collection") {
      checkName(() => checkNamespaceName(value.namespace), "a collection");
      checkName(() => checkCollectionName(value.name, "name"), "a collection");
      collections.push(value);
      continue;
    }
    entryCount += 1n;
    if (kind === "namespace") {
      if (current !== undefined) await use(current);
      checkName(() => checkNamespaceName(value.name), "a namespace");
      if (value.name === systemNamespace || seen.has(value.name)) {
        throw invalidArchive(`namespace ${value.name} does not belong there`);
      }
      seen.add(value.name);
      current = {
        namespace: value,
        protos: new EncodedEntries(({ protos }) => protos),
        services: new EncodedEntries(({ services }) => services),
      };
    } else if (current === undefined || current.namespace.name !== value.namespace) {
      throw invalidArchive(`a ${kind} is not among those of its namespace`);
    } else if (kind === "proto") current.protos.push(entry);
    else current.services.push(entry);
  }
  if (current !== undefined) await use(current);
  if (entryCount !== count) {
    throw invalidArchive(`it has ${entryCount} entries, not the ${count} it tells of`);
  }
  return { entryCount, collections };
}

interface GrowingNamespace extends ArchivedNamespace {
  readonly protos: EncodedEntries<RegisteredProto>;
  readonly services: EncodedEntries<RegisteredService>;
}

/** @throws {CollectorError} ARCHIVE_INVALID */
function checkName(check: () => void, what: string): void {
  try {
    check();
  } catch (error) {
    throw invalidArchive(`${what} has a name that is none`, error);
  }
}
