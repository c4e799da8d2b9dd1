import { randomUUID } from "node:crypto";
import { join } from "node:path";
import { create, equals, type MessageInitShape } from "@bufbuild/protobuf";
import type { Archives, ContentsSource, PartSource } from "../archive/archive.ts";
import { writeChanges } from "../archive/change-stream.ts";
import type { CollectionCatalog } from "../collections/catalog.ts";
import { timestampOfUs } from "../collections/record-answers.ts";
import { typeNameOf } from "../collections/record-collection.ts";
import { CollectorError } from "../errors.ts";
import {
  type ArchiveChange,
  ArchiveChangeSchema,
  type ArchiveManifestSchema,
} from "../gen/collector/archive_pb.ts";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import { BackupMetadata_Content } from "../gen/collector/collection_repo_pb.ts";
import type { Clock } from "../lib/clock.ts";
import { removeFile } from "../lib/remove-file.ts";
import type { Registry } from "../registry/registry.ts";
import type { CopyFacts, StoreChange, StoreChanges } from "../storage/store-copies.ts";
import { unusableBase } from "./archive-failures.ts";
import { type CopiedDefinition, copyCollection } from "./copied-definition.ts";
import type {
  CollectionArchiver,
  CopyBase,
  CopyRun,
  WriteArchiveRequest,
  WrittenArchive,
} from "./copy-parts.ts";

export interface ArchiverOptions {
  readonly catalog: CollectionCatalog;
  readonly registry: Registry;
  readonly archives: Archives;
  readonly clock: Clock;
  readonly collectorId: string;
  readonly serverVersion: string;
  /** Absolute; exists, and is emptied at start by its owner. On the disk of the data, not of the backups. */
  readonly scratchFolder: string;
}

/** Writes archives of collections, whole or what has changed. */
export class Archiver implements CollectionArchiver {
  readonly #options: ArchiverOptions;

  constructor(options: ArchiverOptions) {
    this.#options = options;
  }

  async write(request: WriteArchiveRequest, run: CopyRun): Promise<WrittenArchive> {
    const scratch = join(this.#options.scratchFolder, `pack-${randomUUID()}`);
    try {
      return request.base === undefined
        ? await this.#writeAll(request, scratch, run)
        : await this.#writeChanges(request, request.base, scratch, run);
    } finally {
      await removeFile(scratch);
    }
  }

  async #writeAll(
    request: WriteArchiveRequest,
    scratch: string,
    run: CopyRun,
  ): Promise<WrittenArchive> {
    const { namespace, name, includeFiles: files } = request;
    const what = { namespace, name, files, path: scratch, isTransient: true };
    let written: WrittenArchive | undefined;
    try {
      await using copy = await copyCollection(this.#options, what, run);
      checkWanted(request, copy.definition);
      const { snapshot, nowUs } = copy;
      const content = { part: { name: "database", path: scratch }, contents: snapshot.contents };
      written = await this.#pack(request, copy, snapshot, nowUs, content, run);
    } catch (error) {
      // The disk may have failed to take the copy that was read.
      if (written !== undefined) await removeFile(request.path);
      throw error;
    }
    return written;
  }

  async #writeChanges(
    request: WriteArchiveRequest,
    base: CopyBase,
    scratch: string,
    run: CopyRun,
  ): Promise<WrittenArchive> {
    const { catalog, clock } = this.#options;
    const { namespace, name, includeFiles } = request;
    const { definition } = catalog.copySource(namespace, name);
    checkWanted(request, definition);
    if (base.definition !== undefined && !derivesAlike(base.definition, definition)) {
      throw unusableBase("what is indexed, or the type, has changed since the base");
    }
    const nowUs = clock.nowUs();
    const store = catalog.store(namespace, name);
    if ((await store.stats()).incarnation !== base.incarnation) {
      throw unusableBase("the data was replaced as a whole since the base");
    }
    await using changes = await changesAfter(
      store.changesSince.bind(store),
      base,
      includeFiles,
      run,
    );
    if (changes.incarnation !== base.incarnation) {
      throw unusableBase("the data was replaced as a whole since the base");
    }
    run.report({ phase: "copying" });
    await writeChanges(scratch, entriesOf(changes), { signal: run.signal });
    const { list, folder } = changes.contents;
    const contents = { list: list.filter((sha256) => !base.contents.has(sha256)), folder };
    const content = { part: { name: "changes", path: scratch }, contents };
    const copied = { definition, indexes: undefined, deriveAnew: false };
    return await this.#pack(request, copied, changes, nowUs, content, run);
  }

  async #pack(
    request: WriteArchiveRequest,
    { definition, indexes, deriveAnew }: CopiedDefinition,
    facts: CopyFacts,
    nowUs: bigint,
    { part, contents }: { readonly part: PartSource; readonly contents: ContentsSource },
    run: CopyRun,
  ): Promise<WrittenArchive> {
    const { archives, registry, collectorId, serverVersion } = this.#options;
    const { base, backup, includeFiles, compression, recipients, path } = request;
    const { namespace } = definition;
    const { serverEndpoint: _, ...collection } = definition;
    const manifest: MessageInitShape<typeof ArchiveManifestSchema> = {
      content: BackupMetadata_Content.COLLECTION,
      collection: { ...collection, serverEndpoint: "" },
      schema: registry.closure(namespace, [], [typeNameOf(definition)]),
      moment: timestampOfUs(nowUs),
      revision: facts.revision,
      incarnation: facts.incarnation,
      recordCount: facts.recordCount,
      fileCount: facts.files.count,
      fileBytes: facts.files.bytes,
      includeFiles,
      storeFormat: facts.format,
      collectorId,
      serverVersion,
      compression,
      deriveAnew,
      ...(indexes === undefined ? {} : { indexes: { fields: [...indexes] } }),
      ...(base === undefined
        ? {}
        : {
            base: {
              backupId: base.backupId,
              incarnation: base.incarnation,
              revision: base.revision,
            },
          }),
      ...(backup === undefined ? {} : backup),
    };
    return await archives.pack({
      path,
      manifest,
      parts: [part],
      contents,
      recipients,
      signal: run.signal,
      onProgress: (progress) => run.report({ ...progress, phase: "packing" }),
    });
  }
}

/** True if records are derived by both definitions in the same way, so that changes of one fit the other. */
export function derivesAlike(one: Collection, other: Collection): boolean {
  const shape = (definition: Collection): Collection =>
    create(CollectionSchema, {
      indexedFields: [...definition.indexedFields].sort(),
      typeVersion: definition.typeVersion,
      durability: definition.durability,
      vectorFields: definition.vectorFields,
      collectionId: definition.collectionId,
      ...(definition.messageType === undefined ? {} : { messageType: definition.messageType }),
      ...(definition.textSearch === undefined ? {} : { textSearch: definition.textSearch }),
      ...(definition.expiry === undefined ? {} : { expiry: definition.expiry }),
    });
  return equals(CollectionSchema, shape(one), shape(other));
}

/** Names change hands. @throws {CollectorError} COLLECTION_REPLACED */
function checkWanted(
  { namespace, name, collectionId }: WriteArchiveRequest,
  found: Pick<Collection, "collectionId">,
): void {
  if (collectionId === undefined || found.collectionId === collectionId) return;
  const problem = `${namespace}/${name} is the name of another collection by now`;
  throw new CollectorError("COLLECTION_REPLACED", problem, {
    subject: { namespace, collection: name },
  });
}

async function changesAfter(
  changesSince: (
    revision: bigint,
    options: { readonly files: boolean; readonly signal: AbortSignal },
  ) => Promise<StoreChanges>,
  base: CopyBase,
  files: boolean,
  { signal }: CopyRun,
): Promise<StoreChanges> {
  try {
    return await changesSince(base.revision, { files, signal });
  } catch (error) {
    if (error instanceof CollectorError && error.reason === "HISTORY_GONE") {
      throw unusableBase("the history of deletes does not reach back to the base");
    }
    throw error;
  }
}

async function* entriesOf(changes: StoreChanges): AsyncGenerator<ArchiveChange> {
  for (let page = await changes.next(); page !== undefined; page = await changes.next()) {
    for (const change of page) yield entryOf(change);
  }
  for (const {
    sha256,
    owner,
    name,
    sizeBytes,
    contentType,
    createdUs,
    updatedUs,
  } of changes.names) {
    const value = { owner, name, sizeBytes, contentType, createdUs, updatedUs };
    const hash = new Uint8Array(Buffer.from(sha256, "hex"));
    yield create(ArchiveChangeSchema, {
      entry: { case: "file", value: { ...value, sha256: hash } },
    });
  }
}

function entryOf(change: StoreChange): ArchiveChange {
  if (change.kind === "deleted") {
    const { id, revision, atUs } = change;
    return create(ArchiveChangeSchema, {
      entry: { case: "deleted", value: { id, revision, atUs } },
    });
  }
  const { kind: _, vectors, labels, ...written } = change;
  return create(ArchiveChangeSchema, {
    entry: {
      case: "written",
      value: {
        ...written,
        data: new Uint8Array(written.data),
        labels: { ...labels },
        vectors: Object.fromEntries(
          Object.entries(vectors).map(([name, values]) => [name, { values: [...values] }]),
        ),
      },
    },
  });
}
