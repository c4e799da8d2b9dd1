import assert from "node:assert/strict";
import { rm, statfs, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { connect } from "../../src/client/client.ts";
import { machineCan } from "../support/capabilities.ts";
import { reasonOf } from "../support/found.ts";
import { type MountedFolder, mountTmpfs } from "../support/mounts.ts";
import { noteItem } from "../support/notes.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const megabyte = 1024 * 1024;
const fileBytes = 24 * megabyte;

it("says that the disk of the backups is full, leaves nothing there, and works once there is room", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("tmpfs", t)) return;
  await using disk = await mountTmpfs(100);
  await using folder = await tempFolder("copy-full-disk");
  const backups = join(disk.path, "backups");
  await using server = await ServerProcess.start({
    dataFolder: folder.path,
    env: { COLLECTOR_BACKUP_FOLDER: backups },
  });
  using client = await withNotes(server);
  const ballast = join(disk.path, "ballast");
  await writeFile(ballast, Buffer.alloc(90 * megabyte));
  const free = await freeBytes(disk);
  const request = { collection: { name: "notes" }, includeFiles: true };
  await assertDiskFull(client.repo.backupCollection(request));
  assert.equal((await client.repo.listBackups({})).backups.length, 0);
  await waitUntil("the space is returned", 5_000, async () => (await freeBytes(disk)) >= free);
  await rm(ballast);
  const { backup } = await client.repo.backupCollection(request);
  const { isValid } = await client.repo.verifyBackup({ backupId: backup?.backupId ?? "" });
  assert.ok(isValid);
});

it("says that the data disk is full during a restore or a clone, and keeps what was there", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("tmpfs", t)) return;
  await using disk = await mountTmpfs(192);
  await using folder = await tempFolder("copy-full-disk");
  const dataFolder = join(disk.path, "data");
  await using server = await ServerProcess.start({
    dataFolder,
    env: { COLLECTOR_BACKUP_FOLDER: folder.path },
  });
  using client = await withNotes(server);
  const { backup } = await client.repo.backupCollection({
    collection: { name: "notes" },
    includeFiles: true,
  });
  const ballast = join(disk.path, "ballast");
  // What is left is more than the reserve, and less than a copy needs.
  const spare = (await freeBytes(disk)) - 64 * megabyte - 16 * megabyte;
  await writeFile(ballast, Buffer.alloc(spare));
  const free = await freeBytes(disk);
  await assertDiskFull(
    client.repo.restoreBackup({ backupId: backup?.backupId ?? "", destName: "restored" }),
  );
  await assertDiskFull(
    client.repo.restoreBackup({ backupId: backup?.backupId ?? "", overwrite: true }),
  );
  const { collections } = await client.repo.discover({ namespace: "default" });
  assert.deepEqual(
    collections.map(({ name }) => name),
    ["notes"],
  );
  const { recordCount, fileCount } = await client.records.describe({ collectionName: "notes" });
  assert.deepEqual([recordCount, fileCount], [1n, 1n]);
  await waitUntil("the space is returned", 5_000, async () => {
    // The log of the catalog may have grown by a little.
    return (await freeBytes(disk)) >= free - megabyte;
  });
  await rm(ballast);
  const restored = await client.repo.restoreBackup({
    backupId: backup?.backupId ?? "",
    destName: "restored",
  });
  assert.equal(restored.filesRestored, 1n);
});

it("says that the data disk of the receiver is full, by clone and by fetch, and leaves nothing there", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("tmpfs", t)) return;
  await using disk = await mountTmpfs(192);
  await using folder = await tempFolder("copy-full-disk");
  await using source = await ServerProcess.start({ dataFolder: folder.path });
  await using target = await ServerProcess.start({ dataFolder: join(disk.path, "data") });
  using client = await withNotes(source);
  using receiver = new TestClient(target.url, { timeoutMs: 60_000 });
  const ballast = join(disk.path, "ballast");
  // What is left is more than the reserve, and less than the archive needs.
  await writeFile(ballast, Buffer.alloc((await freeBytes(disk)) - 64 * megabyte - 16 * megabyte));
  const free = await freeBytes(disk);
  const request = { sourceCollection: { name: "notes" }, destName: "copy", includeFiles: true };
  const clone = () => client.repo.clone({ ...request, destEndpoint: target.url });
  const fetch = () => receiver.repo.fetch({ ...request, sourceEndpoint: source.url });
  await assertDiskFull(clone());
  await assertDiskFull(fetch());
  assert.deepEqual((await receiver.repo.discover({ namespace: "default" })).collections, []);
  await waitUntil("the space is returned", 5_000, async () => {
    return (await freeBytes(disk)) >= free - megabyte;
  });
  await rm(ballast);
  assert.equal((await clone()).filesCloned, 1n);
});

async function withNotes(server: ServerProcess): Promise<TestClient> {
  const client = new TestClient(server.url, { timeoutMs: 60_000 });
  await client.registerNotes();
  await client.createNotes("notes");
  await client.records.create({ collectionName: "notes", id: "one", item: noteItem(1) });
  await using files = await connect({ url: server.url });
  // Random bytes: compression does not save the disk.
  await files.files("notes").put("large", randomBytes());
  return client;
}

function randomBytes(): Uint8Array {
  const bytes = new Uint8Array(fileBytes);
  for (let at = 0; at < bytes.length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

async function assertDiskFull(call: Promise<unknown>): Promise<void> {
  const failure = await call.then(
    () => assert.fail("there was room"),
    (error: unknown) => ConnectError.from(error),
  );
  assert.equal(failure.code, Code.ResourceExhausted, failure.message);
  assert.equal(reasonOf(failure), "DISK_FULL");
  assert.doesNotMatch(failure.message, /SQL|\/tmp|ENOSPC/);
}

async function freeBytes(disk: MountedFolder): Promise<number> {
  const { bavail, bsize } = await statfs(disk.path);
  return bavail * bsize;
}
