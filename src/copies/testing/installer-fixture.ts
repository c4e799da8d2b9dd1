import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { clone, create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Archives } from "../../archive/archive.ts";
import { createArchives } from "../../archive/archive-pool.ts";
import { writeChanges } from "../../archive/change-stream.ts";
import { CollectionCatalog } from "../../collections/catalog.ts";
import { openSystemRecords } from "../../collections/system-collections.ts";
import { systemCollections, testTypes } from "../../collections/testing/fixture.ts";
import {
  type ArchiveChange,
  ArchiveChangeSchema,
  type ArchiveManifest,
  ArchiveManifestSchema,
} from "../../gen/collector/archive_pb.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import { BackupMetadata_Content } from "../../gen/collector/collection_repo_pb.ts";
import { OperationSchema } from "../../gen/collector/operations_pb.ts";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { systemClock } from "../../lib/clock.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { OperationStore } from "../../operations/operation-store.ts";
import type { Registry } from "../../registry/registry.ts";
import { openRegistry } from "../../registry/testing/open-registry.ts";
import { SqliteEngine } from "../../storage/sqlite/sqlite-engine.ts";
import type { StoreChanges } from "../../storage/store-copies.ts";
import { Archiver } from "../archiver.ts";
import type { ArchiveInstaller, CopyRun } from "../copy-parts.ts";
import { openInstaller } from "../installer.ts";

/** A run that nobody stops. */
export const calmRun: CopyRun = { signal: new AbortController().signal, report: () => undefined };

/** An installer on an engine of its own, with all that stands around it. */
export class InstallerFixture implements AsyncDisposable {
  readonly folder: string;
  readonly engine: SqliteEngine;
  readonly archives: Archives;
  readonly registry: Registry;
  readonly operations: OperationStore;
  readonly catalog: CollectionCatalog;
  readonly installer: ArchiveInstaller;
  #archiveCount = 0;

  private constructor(parts: {
    folder: string;
    engine: SqliteEngine;
    archives: Archives;
    registry: Registry;
    operations: OperationStore;
    catalog: CollectionCatalog;
    installer: ArchiveInstaller;
  }) {
    this.folder = parts.folder;
    this.engine = parts.engine;
    this.archives = parts.archives;
    this.registry = parts.registry;
    this.operations = parts.operations;
    this.catalog = parts.catalog;
    this.installer = parts.installer;
  }

  /** @param unpacksAfterMs how long archives wait before they are unpacked */
  static async open({
    unpacksAfterMs = 0,
  }: {
    readonly unpacksAfterMs?: number;
  } = {}): Promise<InstallerFixture> {
    const folder = await mkdtemp(join(tmpdir(), "collector-installer-"));
    const limits = defaultLimits;
    const dataFolder = join(folder, "data");
    await mkdir(dataFolder);
    const engine = await SqliteEngine.open({ dataFolder, limits, clock: systemClock });
    const { registry } = await openRegistry();
    const operations = await OperationStore.open({
      records: await openSystemRecords(engine, OperationSchema, "operations", limits),
      limits,
      toStatus: (error) => create(StatusSchema, { code: 2, message: String(error) }),
    });
    const catalog = await CollectionCatalog.open({
      engine,
      definitions: await openSystemRecords(engine, CollectionSchema, "collections", limits),
      systemCollections,
      types: registry,
      operations,
      limits,
      endpoint: () => "http://127.0.0.1:50051",
      ensureNamespace: (namespace) => registry.ensureNamespace(namespace),
    });
    const archives = late(createArchives(), unpacksAfterMs);
    const installer = await openInstaller({
      engine,
      archives,
      catalog,
      registry,
      limits,
      keys: { identities: [] },
      clock: systemClock,
      collectorId: "test-collector",
      scratchFolder: join(folder, "scratch"),
    });
    const file = testTypes.getFile("shop.proto")?.proto;
    await registry.registerFile({
      namespace: "default",
      file,
      dependencies: [],
      validateOnly: false,
    });
    return new InstallerFixture({
      folder,
      engine,
      archives,
      registry,
      operations,
      catalog,
      installer,
    });
  }

  /**
   * Packs a collection, or what has changed in it since a revision.
   *
   * @param alter makes it a crafted one; it is given the path of part `database` or `changes` too.
   * @param hasContents false leaves contents of files out of it.
   */
  async pack(
    name: string,
    since?: bigint,
    alter: (manifest: ArchiveManifest, dataPath: string) => Promise<void> | void = () => undefined,
    hasContents = true,
  ): Promise<{ path: string; revision: bigint }> {
    this.#archiveCount += 1;
    const path = join(this.folder, `archive-${this.#archiveCount}`);
    const data = `${path}.data`;
    const store = this.catalog.store("default", name);
    // The catalog's own is not to be crafted.
    const collection = clone(CollectionSchema, this.catalog.get({ namespace: "default", name }));
    const typeName = collection.messageType?.messageName ?? "";
    await using copy =
      since === undefined
        ? await store.snapshot({ path: data, files: true })
        : await store.changesSince(since, { files: true });
    if ("next" in copy) await writeChanges(data, changesOf(copy));
    const { incarnation, revision, recordCount, files, format: storeFormat } = copy;
    const manifest = create(ArchiveManifestSchema, {
      content: BackupMetadata_Content.COLLECTION,
      collection,
      schema: this.registry.closure("default", [], [typeName]),
      moment: timestampNow(),
      incarnation,
      revision,
      recordCount,
      fileCount: files.count,
      fileBytes: files.bytes,
      includeFiles: true,
      storeFormat,
      ...(since === undefined ? {} : { base: { incarnation, revision: since } }),
    });
    await alter(manifest, data);
    await this.archives.pack({
      path,
      manifest,
      recipients: [],
      parts: [{ name: since === undefined ? "database" : "changes", path: data }],
      contents: hasContents ? copy.contents : undefined,
    });
    return { path, revision };
  }

  /** What writes archives of its collections. */
  archiver(): Archiver {
    const { catalog, registry, archives, folder } = this;
    return new Archiver({
      catalog,
      registry,
      archives,
      clock: systemClock,
      collectorId: "test-collector",
      serverVersion: "0",
      scratchFolder: folder,
    });
  }

  /** What a failed installation must not change. */
  async traces(): Promise<unknown> {
    const stores = await this.engine.list();
    return {
      stores: stores.map(({ storeId, generation }) => `${storeId}/${generation}`).sort(),
      collections: [...this.catalog.namesIn("default"), ...this.catalog.namesIn("fresh")],
      types: this.registry.snapshot("fresh").types.getMessage("shop.v1.Product")?.typeName,
      scratch: await readdir(join(this.folder, "scratch")),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.archives[Symbol.asyncDispose]();
    await this.operations.close();
    await this.engine.close();
    await rm(this.folder, { recursive: true, force: true });
  }
}

function late(archives: Archives, ms: number): Archives {
  return {
    pack: (request) => archives.pack(request),
    manifest: (path, identities) => archives.manifest(path, identities),
    unpack: async (request) => {
      if (ms > 0) await setTimeout(ms);
      return await archives.unpack(request);
    },
    [Symbol.asyncDispose]: () => archives[Symbol.asyncDispose](),
  };
}

async function* changesOf(copy: StoreChanges): AsyncIterable<ArchiveChange> {
  for (let page = await copy.next(); page !== undefined; page = await copy.next()) {
    for (const change of page) {
      if (change.kind === "deleted") {
        const { kind: case_, ...value } = change;
        yield create(ArchiveChangeSchema, { entry: { case: case_, value } });
      } else {
        const { kind: case_, ...value } = change;
        const vectors = Object.fromEntries(
          Object.entries(change.vectors).map(([name, values]) => [name, { values: [...values] }]),
        );
        const written = { ...value, vectors };
        yield create(ArchiveChangeSchema, { entry: { case: case_, value: written } });
      }
    }
  }
  for (const file of copy.names) {
    const value = { ...file, sha256: Buffer.from(file.sha256, "hex") };
    yield create(ArchiveChangeSchema, { entry: { case: "file", value } });
  }
}
