import assert from "node:assert/strict";
import { readdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { connect } from "../../src/client/client.ts";
import type { BackupMetadata } from "../../src/gen/collector/collection_repo_pb.ts";
import { type Collector, createCollector } from "../../src/server.ts";
import { reasonOf } from "../support/found.ts";
import { noteItem } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

/** A server on a folder of its own, with a collection of notes and a file. */
class Server implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly collector: Collector;
  readonly client: TestClient;

  private constructor(folder: TempFolder, collector: Collector) {
    this.folder = folder;
    this.collector = collector;
    this.client = new TestClient(collector.url);
  }

  static async open(): Promise<Server> {
    const folder = await tempFolder("backup");
    const collector = await createCollector({ data: folder.path, port: 0, logLevel: "silent" });
    return new Server(folder, collector);
  }

  async fill(count: number): Promise<void> {
    await this.client.registerNotes();
    await this.client.createNotes("notes", { indexedFields: ["price_cents"] });
    for (let number = 0; number < count; number += 1) await this.put(number);
    await using client = await connect({ url: this.collector.url });
    await client.files("notes").put("photos/front.jpg", Buffer.from("a photo"));
  }

  async put(number: number): Promise<void> {
    await this.client.records.update({
      collectionName: "notes",
      id: `n${number}`,
      item: noteItem(number),
      allowMissing: true,
      labels: { number: String(number) },
    });
  }

  async backUp(options: Partial<BackupRequest> = {}): Promise<BackupMetadata> {
    const request = { collection: { name: "notes" }, includeFiles: true, ...options };
    const { backup } = await this.client.repo.backupCollection(request);
    assert.ok(backup);
    return backup;
  }

  archive(backup: BackupMetadata): string {
    return join(this.folder.path, "backups", backup.storagePath);
  }

  /** What callers can see of a collection. */
  async state(collectionName: string): Promise<unknown> {
    const { records, repo } = this.client;
    const { items, metas } = await records.list({ collectionName, pageSize: 1000 });
    const cheap = await records.search({ collectionName, fullText: "n1", orderBy: "price_cents" });
    const { collection } = await repo.route({ collection: { name: collectionName } });
    const { indexedFields, messageType } = collection ?? {};
    await using client = await connect({ url: this.collector.url });
    const { content } = await client.files(collectionName).get("photos/front.jpg");
    const photo = Buffer.concat(await Array.fromAsync(content)).toString();
    return { items, metas, found: cheap.results.length, indexedFields, messageType, photo };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.collector.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

interface BackupRequest {
  readonly destPath: string;
  readonly metadata: Record<string, string>;
  readonly incremental: boolean;
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return await call.then(
    () => assert.fail("it was not refused"),
    (error: unknown) => ConnectError.from(error),
  );
}

describe("copies, over sockets", () => {
  it("restores what was there, under another name and over what has changed since", async () => {
    await using server = await Server.open();
    await server.fill(50);
    const before = await server.state("notes");
    const text = "any text: \u{1f600} \n =, ü";
    const backup = await server.backUp({ metadata: { note: text, "": "empty key" } });
    assert.deepEqual([backup.recordCount, backup.fileCount], [50n, 1n]);
    assert.deepEqual(backup.metadata, { note: text, "": "empty key" });
    await server.put(7);
    await server.put(99);
    const { backupId } = backup;
    const copy = await server.client.repo.restoreBackup({ backupId, destName: "copy" });
    assert.deepEqual([copy.recordsRestored, copy.filesRestored], [50n, 1n]);
    assert.deepEqual(await server.state("copy"), before);
    const taken = await refusal(server.client.repo.restoreBackup({ backupId }));
    assert.equal(reasonOf(taken), "COLLECTION_EXISTS");
    await server.client.repo.restoreBackup({ backupId, overwrite: true });
    assert.deepEqual(await server.state("notes"), before);
    const { collection } = await server.client.repo.route({ collection: { name: "notes" } });
    assert.equal(collection?.generation, 2n);
    assert.equal(collection?.origin?.backupId, backupId);
    assert.equal(collection?.metadata?.labels["restored-from-backup"], backupId);
  });

  it("keeps the backups of a collection that was deleted, and restores it", async () => {
    await using server = await Server.open();
    await server.fill(5);
    const { backupId } = await server.backUp();
    const before = await server.state("notes");
    await server.client.admin.deleteCollection({ collection: { name: "notes" } });
    const { backups } = await server.client.repo.listBackups({ collection: { name: "notes" } });
    assert.deepEqual(
      backups.map((backup) => backup.backupId),
      [backupId],
    );
    await server.client.repo.restoreBackup({ backupId });
    assert.deepEqual(await server.state("notes"), before);
  });

  it("follows a chain of incremental backups", async () => {
    await using server = await Server.open();
    await server.fill(30);
    await server.backUp();
    await server.put(3);
    await server.client.records.delete({ collectionName: "notes", id: "n4" });
    const second = await server.backUp({ incremental: true });
    assert.notEqual(second.baseBackupId, "");
    await server.put(31);
    const third = await server.backUp({ incremental: true });
    const state = await server.state("notes");
    const { backupId } = third;
    const verified = await server.client.repo.verifyBackup({ backupId });
    assert.ok(verified.isValid, verified.errorMessage);
    await server.client.repo.restoreBackup({ backupId, destName: "copy" });
    assert.deepEqual(await server.state("copy"), state);
    const inUse = server.client.repo.deleteBackup({ backupId: second.backupId });
    assert.equal(reasonOf(await refusal(inUse)), "BACKUP_IN_USE");
  });

  it("clones to another name, once", async () => {
    await using server = await Server.open();
    await server.fill(40);
    const before = await server.state("notes");
    const request = { sourceCollection: { name: "notes" }, includeFiles: true };
    const clone = () => server.client.repo.clone({ ...request, destName: "staging" });
    const { recordsCloned, filesCloned } = await clone();
    assert.deepEqual([recordsCloned, filesCloned], [40n, 1n]);
    assert.deepEqual(await server.state("staging"), before);
    assert.equal(reasonOf(await refusal(clone())), "COLLECTION_EXISTS");
  });

  it("is told in which field a name is that a copy cannot have", async () => {
    await using server = await Server.open();
    await server.fill(1);
    const { backupId } = await server.backUp();
    const { repo } = server.client;
    for (const names of [{ destName: "staging/notes" }, { destNamespace: "a/b" }]) {
      const [field] = Object.keys(names);
      for (const copy of [
        () => repo.restoreBackup({ backupId, ...names }),
        () => repo.clone({ sourceCollection: { name: "notes" }, ...names }),
      ]) {
        const failure = await refusal(copy());
        assert.equal(reasonOf(failure), "NAME_INVALID");
        assert.match(
          failure.rawMessage,
          field === "destName" ? /^dest_name: / : /^dest_namespace: /,
        );
      }
    }
  });

  it("makes backups of several collections side by side, and of one in turn", async () => {
    await using folder = await tempFolder("backup");
    const limits = { copiesMax: 2 };
    await using collector = await createCollector({
      data: folder.path,
      port: 0,
      logLevel: "silent",
      limits,
    });
    using client = new TestClient(collector.url, { timeoutMs: 120_000 });
    await client.registerNotes();
    const names = ["one", "two", "three"];
    for (const name of names) {
      await client.createNotes(name);
      await client.records.create({ collectionName: name, id: "n1", item: noteItem(1) });
    }
    const all = await Promise.all(
      [...names, ...names, ...names].map((name) =>
        client.repo.backupCollection({ collection: { name }, incremental: true }),
      ),
    );
    const ids = new Set(all.map(({ backup }) => backup?.backupId));
    assert.equal(ids.size, 9);
    // Each but the first of a collection found the one before it complete.
    const bases = all.filter(({ backup }) => backup?.baseBackupId !== "");
    assert.equal(bases.length, 6);
    const verified = await Promise.all(
      all.map(({ backup }) => client.repo.verifyBackup({ backupId: backup?.backupId ?? "" })),
    );
    assert.ok(verified.every(({ isValid }) => isValid));
  });

  it("writes nowhere but in its backup folders", async () => {
    await using server = await Server.open();
    await server.fill(1);
    await server.backUp({ destPath: "kept/first.collector" });
    await symlink("/tmp", join(server.folder.path, "backups", "out"));
    for (const destPath of [
      "../../etc/x",
      "/etc/x",
      "a\0b",
      "a/../../b",
      "out/x",
      "..",
      ".",
      "a\\b",
      "x".repeat(5000),
      ".hidden",
      "kept/",
    ]) {
      const failure = await refusal(server.backUp({ destPath }));
      assert.equal(failure.code, Code.InvalidArgument, `${destPath}: ${failure.message}`);
      assert.match(failure.message, /dest_path/);
    }
    const taken = await refusal(server.backUp({ destPath: "kept/first.collector" }));
    assert.equal(reasonOf(taken), "BACKUP_EXISTS");
  });

  it("finds a damaged archive, refuses it and keeps the old data", async () => {
    await using server = await Server.open();
    await server.fill(20);
    const { repo } = server.client;
    const backup = await server.backUp();
    const { backupId } = backup;
    const path = server.archive(backup);
    const whole = await readFile(path);
    const before = await server.state("notes");
    const random = new Random(1);
    for (let round = 0; round < 30; round += 1) {
      const damaged = Buffer.from(whole);
      const at = random.below(whole.length);
      damaged[at] = (damaged[at] ?? 0) ^ (1 << random.below(8));
      await writeFile(path, round % 3 === 0 ? whole.subarray(0, at) : damaged);
      const { isValid, errorMessage } = await repo.verifyBackup({ backupId });
      assert.equal(isValid, false, `byte ${at}`);
      assert.notEqual(errorMessage, "");
      const failure = await refusal(repo.restoreBackup({ backupId, overwrite: true }));
      assert.ok(
        [Code.DataLoss, Code.InvalidArgument, Code.FailedPrecondition].includes(failure.code),
        `${failure.code} ${failure.message}`,
      );
    }
    assert.deepEqual(await server.state("notes"), before);
    await writeFile(path, whole);
    assert.ok((await repo.verifyBackup({ backupId })).isValid);
    const stores = await readdir(join(server.folder.path, "stores"));
    assert.equal(stores.filter((name) => !name.startsWith("system-")).length, 1);
  });
});
