import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { readChanges, writeChanges } from "../archive/change-stream.ts";
import { product } from "../collections/testing/fixture.ts";
import { CollectorError } from "../errors.ts";
import type { ArchiveChange, ArchiveManifest } from "../gen/collector/archive_pb.ts";
import { CollectionSchema } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  SearchRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import type { CopyRun, InstallRequest } from "./copy-parts.ts";
import { calmRun, InstallerFixture } from "./testing/installer-fixture.ts";

const recordsMax = 20;

async function fill(fixture: InstallerFixture): Promise<void> {
  await fixture.catalog.create(
    create(CollectionSchema, {
      namespace: "default",
      name: "source",
      messageType: { messageName: "shop.v1.Product" },
      indexedFields: ["stock"],
      metadata: { labels: { team: "shop" } },
      vectorFields: [{ name: "near", dimensions: 2 }],
    }),
  );
  for (let index = 0; index < recordsMax; index += 1) await add(fixture, `r${index}`, "chair");
  await attach(fixture);
}

async function attach({ catalog }: InstallerFixture): Promise<void> {
  const { files } = catalog.store("default", "source");
  await using upload = await files.begin();
  await upload.write(Buffer.from("hello"));
  await upload.finish();
  await files.put(upload, { owner: "r1", name: "note.txt", contentType: "text/plain" });
}

async function add(fixture: InstallerFixture, id: string, title: string): Promise<void> {
  const request = { id, item: product({ title, stock: 3 }), labels: { color: "red" } };
  const vectors = { near: { values: [1, 0.5] } };
  await fixture.catalog
    .open("default", "source")
    .create(create(CreateRequestSchema, { ...request, vectors }));
}

function requestOf(chain: readonly string[], more: Partial<InstallRequest> = {}): InstallRequest {
  const origin = { backupId: "b1", collectorId: "c1", collectionId: "id1" };
  return { chain, namespace: "default", name: "copy", mode: "create", origin, ...more };
}

/** Everything a reader finds of a collection. */
async function contentOf(
  { catalog }: InstallerFixture,
  namespace: string,
  name: string,
): Promise<unknown> {
  const store = catalog.store(namespace, name);
  const { records } = await store.list({ limit: 1000 });
  const found = await catalog
    .open(namespace, name)
    .search(create(SearchRequestSchema, { fullText: "chair", limit: 100 }));
  const near = await catalog
    .open(namespace, name)
    .search(create(SearchRequestSchema, { vector: [1, 0.5], vectorField: "near", limit: 100 }));
  const { files } = await store.files.list({ owner: "r1", prefix: "", after: undefined, limit: 9 });
  const { indexes, revision } = await store.stats();
  assert.ok(found.results.length > 0 && near.results.length > 0);
  const [file] = files;
  const range = { offset: 0n, length: file?.sizeBytes ?? 0n };
  const bytes: Uint8Array[] = [];
  if (file !== undefined) {
    for await (const chunk of store.files.read(file.sha256, range)) bytes.push(chunk);
  }
  return {
    records,
    found: found.results.length,
    near: near.results.length,
    files,
    text: Buffer.concat(bytes).toString(),
    indexes,
    revision,
  };
}

describe("ArchiveInstaller", () => {
  it("makes of an archive the collection that it was made of", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const { path } = await fixture.pack("source");
    assert.deepEqual(await fixture.installer.verify([path], calmRun), []);
    const request = requestOf([path], { namespace: "fresh" });
    const installed = await fixture.installer.install(request, calmRun);
    assert.equal(installed.recordCount, BigInt(recordsMax));
    assert.equal(installed.fileCount, 1n);
    const { indexedFields, metadata, origin, generation } = installed.collection;
    assert.deepEqual(indexedFields, ["stock"]);
    assert.deepEqual(metadata?.labels, { team: "shop", "restored-from-backup": "b1" });
    assert.equal(generation, 1n);
    assert.equal(origin?.backupId, "b1");
    assert.deepEqual(
      await contentOf(fixture, "fresh", "copy"),
      await contentOf(fixture, "default", "source"),
    );
  });

  it("applies what has changed to a full archive, or to a copy that is there", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const full = await fixture.pack("source");
    await fixture.installer.install(requestOf([full.path], { name: "second" }), calmRun);
    await add(fixture, "later", "chair");
    const source = fixture.catalog.open("default", "source");
    await source.delete(create(DeleteRequestSchema, { id: "r2" }));
    const changes = await fixture.pack("source", full.revision);
    assert.deepEqual(await fixture.installer.verify([full.path, changes.path], calmRun), []);
    await fixture.installer.install(requestOf([full.path, changes.path]), calmRun);
    const expected = await contentOf(fixture, "default", "source");
    assert.deepEqual(await contentOf(fixture, "default", "copy"), expected);

    const onto = requestOf([changes.path], { name: "second", mode: "replace", onto: true });
    const { collection } = await fixture.installer.install(onto, calmRun);
    assert.equal(collection.generation, 2n);
    assert.deepEqual(await contentOf(fixture, "default", "second"), expected);
    await assert.rejects(fixture.installer.install(onto, calmRun), { reason: "BASE_UNUSABLE" });
  });

  it("refuses a name that is taken, and replaces what it may replace", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const { path } = await fixture.pack("source");
    const taken = requestOf([path], { name: "source" });
    await assert.rejects(fixture.installer.install(taken, calmRun), {
      reason: "COLLECTION_EXISTS",
    });
    await assert.rejects(fixture.installer.install({ ...taken, mode: "refresh" }, calmRun), {
      reason: "COLLECTION_EXISTS",
    });
    const before = fixture.catalog.find("default", "source");
    const { collection } = await fixture.installer.install({ ...taken, mode: "replace" }, calmRun);
    assert.equal(collection.collectionId, before?.collectionId);
    assert.equal(collection.generation, 2n);
  });

  it("makes a collection from another, also in another namespace, and makes it anew", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const clone = (mode: "create" | "refresh"): ReturnType<typeof fixture.installer.clone> =>
      fixture.installer.clone(
        {
          source: { namespace: "default", name: "source" },
          namespace: "fresh",
          name: "copy",
          includeFiles: true,
          mode,
        },
        calmRun,
      );
    const { recordCount, fileCount } = await clone("create");
    assert.deepEqual([recordCount, fileCount], [BigInt(recordsMax), 1n]);
    await assert.rejects(clone("create"), { reason: "COLLECTION_EXISTS" });
    await add(fixture, "later", "chair");
    const { collection } = await clone("refresh");
    assert.equal(collection.generation, 2n);
    assert.deepEqual(
      await contentOf(fixture, "fresh", "copy"),
      await contentOf(fixture, "default", "source"),
    );
  });

  it("has contents of a chain that went and came back, also if the last archive is without them", async () => {
    // By then the store has removed what lost its last name.
    await using fixture = await InstallerFixture.open({ unpacksAfterMs: 600 });
    await fill(fixture);
    const { path: full, revision } = await fixture.pack("source");
    const { files } = fixture.catalog.store("default", "source");
    await files.remove("r1", "note.txt");
    await add(fixture, "later", "chair");
    const without = await fixture.pack("source", revision);
    await attach(fixture);
    await add(fixture, "last", "chair");
    const again = await fixture.pack("source", without.revision, undefined, false);
    const chain = [full, without.path, again.path];
    assert.deepEqual(await fixture.installer.verify(chain, calmRun), []);
    await fixture.installer.install(requestOf(chain), calmRun);
    assert.deepEqual(
      await contentOf(fixture, "default", "copy"),
      await contentOf(fixture, "default", "source"),
    );
  });

  it("installs also when its records cannot be derived anew yet", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const { path } = await fixture.pack("source", undefined, (manifest) => {
      manifest.deriveAnew = true;
    });
    const { operations, catalog, installer } = fixture;
    const start = operations.start.bind(operations);
    for (const reason of ["DISK_FULL", "SHUTTING_DOWN"] as const) {
      operations.start = () =>
        Promise.reject(new CollectorError(reason, "an operation cannot begin"));
      const request = requestOf([path], { name: "source", mode: "replace" });
      const { collection } = await installer.install(request, calmRun);
      assert.deepEqual(catalog.find("default", "source")?.generation, collection.generation);
      const { recordCount } = await catalog.store("default", "source").stats();
      assert.equal(recordCount, BigInt(recordsMax));
    }
    operations.start = start;
    const source = { namespace: "default", name: "source" };
    const to = { namespace: "fresh", name: "copy", includeFiles: true, mode: "create" } as const;
    await installer.clone({ source, ...to }, calmRun);
    assert.deepEqual(
      operations.running.map(({ kind, subject }) => [kind, subject]),
      [["type-upgrade", "fresh/copy"]],
      "a copy of what has to be derived anew has to be so too",
    );
  });

  it("leaves nothing of an installation that is cancelled, whatever it was about to do", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const full = await fixture.pack("source");
    await add(fixture, "later", "chair");
    const changes = await fixture.pack("source", full.revision);
    const before = await fixture.traces();
    const seen = new Set<string>();
    const request = requestOf([full.path, changes.path], { namespace: "fresh" });
    for (const phase of ["unpacking", "verifying", "applying changes", "installing"]) {
      const aborted = new AbortController();
      const run: CopyRun = {
        signal: aborted.signal,
        report: (progress) => {
          if (progress.phase !== phase) return;
          seen.add(phase);
          aborted.abort(new CollectorError("CANCELLED", "no longer wanted"));
        },
      };
      await assert.rejects(fixture.installer.install(request, run), { reason: "CANCELLED" });
      assert.deepEqual(await fixture.traces(), before);
    }
    assert.equal(seen.size, 4);
    await fixture.installer.install(request, calmRun);
  });

  it("refuses archives that this server would not have written, and leaves nothing of them", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const before = await fixture.traces();
    const crafted: ((manifest: ArchiveManifest) => void)[] = [
      (manifest) => (manifest.recordCount += 1n),
      (manifest) => (manifest.revision += 1n),
      (manifest) => (manifest.fileCount = -1n),
      (manifest) => (manifest.incarnation = "other"),
      (manifest) => (manifest.storeFormat = "sqlite/../../etc"),
      (manifest) => manifest.schema?.file.splice(0),
      (manifest) => manifest.collection?.indexedFields.push("nothing"),
      (manifest) => manifest.collection?.indexedFields.push("title"),
      (manifest) => manifest.collection?.vectorFields.splice(0),
      (manifest) => delete manifest.collection,
    ];
    for (const alter of crafted) {
      const { path } = await fixture.pack("source", undefined, alter);
      const request = requestOf([path], { namespace: "fresh" });
      await assert.rejects(
        fixture.installer.install(request, calmRun),
        { reason: "ARCHIVE_INVALID" },
        String(alter),
      );
      assert.notDeepEqual(await fixture.installer.verify([path], calmRun), [], String(alter));
      assert.deepEqual(await fixture.traces(), before);
    }
  });

  it("refuses revisions and moments that no server writes, and says where they are", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const before = await fixture.traces();
    const late = 2n ** 63n - 1n;
    const inDatabase = (path: string, sql: string): void => {
      using db = new DatabaseSync(path);
      db.exec(sql);
    };
    const crafted: [RegExp, (manifest: ArchiveManifest, dataPath: string) => void][] = [
      [/the created_at of its definition/, (manifest) => setCreation(manifest, 10n ** 15n, 0)],
      [/the created_at of its definition/, (manifest) => setCreation(manifest, 0n, -1)],
      [
        /the moment of its manifest/,
        (manifest) => {
          manifest.moment = create(TimestampSchema, { seconds: -(10n ** 15n) });
        },
      ],
      [
        /its manifest has revision 9223372036854775807/,
        (manifest, path) => {
          manifest.revision = late;
          inDatabase(path, `UPDATE meta SET revision = ${late}`);
        },
      ],
      [
        /record r1: its last write is 9223372036854775807/,
        (_manifest, path) =>
          inDatabase(path, `UPDATE record SET updated_us = ${late} WHERE id = 'r1'`),
      ],
    ];
    for (const [message, alter] of crafted) {
      const { path } = await fixture.pack("source", undefined, alter);
      const installing = fixture.installer.install(requestOf([path]), calmRun);
      await assert.rejects(installing, { reason: "ARCHIVE_INVALID", message });
      const [problem] = await fixture.installer.verify([path], calmRun);
      assert.match(problem?.description ?? "", message);
      assert.deepEqual(await fixture.traces(), before);
    }
  });

  it("refuses changes with moments that no server writes, and says where they are", async () => {
    await using fixture = await InstallerFixture.open();
    await fill(fixture);
    const full = await fixture.pack("source");
    await add(fixture, "later", "chair");
    const source = fixture.catalog.open("default", "source");
    await source.delete(create(DeleteRequestSchema, { id: "r2" }));
    const crafted: [RegExp, (entry: ArchiveChange["entry"]) => void][] = [
      [
        /part changes: record later: created_us is -9000000000000000000/,
        ({ case: kind, value }) => {
          if (kind === "written") value.createdUs = -9_000_000_000_000_000_000n;
        },
      ],
      [
        /part changes: record later: updated_us is 9000000000000000000/,
        ({ case: kind, value }) => {
          if (kind === "written") value.updatedUs = 9_000_000_000_000_000_000n;
        },
      ],
      [
        /part changes: record r2: at_us is 9000000000000000000/,
        ({ case: kind, value }) => {
          if (kind === "deleted") value.atUs = 9_000_000_000_000_000_000n;
        },
      ],
      [
        /part changes: file note.txt: updated_us is 9000000000000000000/,
        ({ case: kind, value }) => {
          if (kind === "file") value.updatedUs = 9_000_000_000_000_000_000n;
        },
      ],
    ];
    for (const [message, alter] of crafted) {
      const { path } = await fixture.pack("source", full.revision, async (_manifest, dataPath) => {
        const changes = await Array.fromAsync(readChanges(dataPath));
        for (const { entry } of changes) alter(entry);
        await rm(dataPath);
        await writeChanges(dataPath, changes);
      });
      const installing = fixture.installer.install(requestOf([full.path, path]), calmRun);
      await assert.rejects(installing, { reason: "ARCHIVE_INVALID", message });
    }
  });
});

function setCreation({ collection }: ArchiveManifest, seconds: bigint, nanos: number): void {
  const createdAt = create(TimestampSchema, { seconds, nanos });
  if (collection?.metadata !== undefined) collection.metadata.createdAt = createdAt;
}
