import assert from "node:assert/strict";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { generateIdentity, identityToRecipient } from "age-encryption";
import type { RestoreServerResponse_Restored } from "../../src/gen/collector/backups_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  type Compression,
} from "../../src/gen/collector/collection_repo_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { CompatibilityMode } from "../../src/gen/collector/namespaces_pb.ts";
import { reasonOf } from "../support/found.ts";
import { priceFile, SetServer } from "../support/set-server.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

describe("backups of a whole server, over sockets", () => {
  it("hold the registry and every collection, each as a backup that verifies", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const { setId, backups, leftOut } = await server.backUp({ metadata: { why: "test" } });
    assert.deepEqual(
      backups.map(({ collection, content }) => [collection?.namespace, collection?.name, content]),
      [
        [undefined, undefined, BackupMetadata_Content.REGISTRY],
        ["default", "drafts", BackupMetadata_Content.COLLECTION],
        ["default", "notes", BackupMetadata_Content.COLLECTION],
        ["shop", "prices", BackupMetadata_Content.COLLECTION],
      ],
    );
    assert.equal(leftOut, 0);
    for (const backup of backups) {
      assert.deepEqual([backup.setId, backup.metadata], [setId, { why: "test" }]);
      const { backupId } = backup;
      const { isValid, errorMessage } = await server.client.repo.verifyBackup({ backupId });
      assert.ok(isValid, errorMessage);
    }
    const listed = await server.client.repo.listBackups({ setId });
    assert.equal(listed.totalCount, 4n);
  });

  it("bring everything back after it was deleted", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const before = await server.state();
    const { setId } = await server.backUp();
    const { admin, types, namespaces } = server.client;
    for (const [namespace, name] of [
      ["default", "notes"],
      ["default", "drafts"],
      ["shop", "prices"],
    ] as const) {
      await admin.deleteCollection({ collection: { namespace, name } });
    }
    await types.unregisterService({ namespace: "shop", name: "shop.v1.Quotes" });
    await types.unregisterFile({ namespace: "shop", name: "shop/quotes.proto" });
    await types.unregisterFile({ namespace: "shop", name: "shop/price.proto" });
    await types.unregisterFile({ name: "notes/v1/note.proto" });
    await namespaces.deleteNamespace({ name: "shop" });
    const restored = await server.restore(setId);
    assert.deepEqual(
      restored.map(({ status }) => [status?.code, status?.message]),
      restored.map(() => [Status_Code.OK, ""]),
    );
    assert.deepEqual(await server.state(), before);
  });

  it("are restored on an empty server that takes up their archives", async () => {
    await using source = await SetServer.open();
    await source.fill();
    const before = await source.state();
    const { setId } = await source.backUp();
    await using target = await SetServer.open();
    await target.takeFolder(source);
    const { backups, refused } = await target.client.backups.importBackups({});
    assert.deepEqual(refused, []);
    assert.equal(backups.length, 4);
    const { backups: listed } = await source.client.repo.listBackups({ setId });
    const { backups: imported } = await target.client.repo.listBackups({ setId });
    const withoutHash = listed.map((backup) => ({ ...withoutImportTime(backup), sha256: "" }));
    assert.ok(imported.every(({ importTime }) => importTime !== undefined));
    assert.deepEqual(imported.map(withoutImportTime), withoutHash);
    // All of an archive is read when it is verified, and not before.
    for (const { backupId } of imported) {
      assert.ok((await target.client.repo.verifyBackup({ backupId })).isValid);
    }
    const { backups: verified } = await target.client.repo.listBackups({ setId });
    assert.deepEqual(
      verified.map(({ sha256 }) => sha256),
      listed.map(({ sha256 }) => sha256),
    );
    assert.deepEqual(messagesOf(await target.restore(setId)), []);
    assert.deepEqual(await target.state(), before);
    const again = await target.client.backups.importBackups({});
    assert.deepEqual([again.backups, again.refused], [[], []]);
  });

  it("restore the rest when one archive is damaged, and tell of that one", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const { setId, backups } = await server.backUp();
    const { admin } = server.client;
    const [, drafts, notes] = backups;
    assert.ok(drafts !== undefined && notes !== undefined);
    await flipByte(join(server.backupFolder, notes.storagePath));
    for (const { namespace, name } of [drafts, notes].flatMap((b) => b.collection ?? [])) {
      await admin.deleteCollection({ collection: { namespace, name } });
    }
    const restored = await server.restore(setId);
    assert.deepEqual(
      restored.map(({ collection, status, recordsRestored }) => {
        return [collection?.name, status?.code, recordsRestored];
      }),
      [
        [undefined, Status_Code.OK, 7n],
        ["drafts", Status_Code.OK, 20n],
        ["notes", Status_Code.DATA_LOSS, 0n],
        ["prices", Status_Code.ALREADY_EXISTS, 0n],
      ],
    );
    await flipByte(join(server.backupFolder, backups[0]?.storagePath ?? ""));
    const [registry] = await server.restore(setId);
    assert.equal(registry?.status?.code, Status_Code.DATA_LOSS);
  });

  it("leave alone what is there unless they are told to replace it", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const before = await server.state();
    const { setId } = await server.backUp();
    await server.put(7000);
    const { namespaces, records } = server.client;
    await namespaces.updateNamespace({
      namespace: { name: "shop", compatibilityMode: CompatibilityMode.WIRE_JSON },
    });
    const codes = (await server.restore(setId)).map(({ status }) => status?.code);
    assert.deepEqual(
      codes,
      Array.from({ length: 4 }, () => Status_Code.ALREADY_EXISTS),
    );
    const { recordCount } = await records.describe({ collectionName: "notes" });
    assert.equal(recordCount, 21n);
    const one = { overwrite: true, collection: { namespace: "default", name: "notes" } };
    assert.equal((await server.restore(setId, one)).length, 1);
    assert.deepEqual(messagesOf(await server.restore(setId, { overwrite: true })), []);
    assert.deepEqual(await server.state(), before);
  });

  it("never make types incompatible, and restore what the types of the namespace allow", async () => {
    await using source = await SetServer.open();
    await source.fill();
    const { setId } = await source.backUp();
    await using target = await SetServer.open();
    await target.client.namespaces.createNamespace({ namespace: { name: "shop" } });
    await target.client.registry.registerProto({
      namespace: "shop",
      fileDescriptor: priceFile(1),
    });
    await target.takeFolder(source);
    await target.client.backups.importBackups({});
    const restored = await target.restore(setId);
    assert.deepEqual(
      restored.map(({ status, collection }) => [collection?.name, status?.code]),
      [
        [undefined, Status_Code.ALREADY_EXISTS],
        ["drafts", Status_Code.OK],
        ["notes", Status_Code.OK],
        ["prices", Status_Code.FAILED_PRECONDITION],
      ],
    );
    assert.match(restored[0]?.status?.message ?? "", /settings.*shop\/price\.proto/);
    const { files } = await target.client.types.listFiles({ namespace: "shop" });
    assert.deepEqual(
      files.map(({ version }) => version),
      [1n],
    );
  });

  it("may be of one namespace, in a folder of their own", async () => {
    await using server = await SetServer.open();
    await server.fill();
    const { backups, setId } = await server.backUp({ namespace: "shop", destPath: "kept/here" });
    assert.deepEqual(
      backups.map(({ collection }) => collection?.name),
      [undefined, "prices"],
    );
    assert.ok(backups.every(({ storagePath }) => storagePath.startsWith("kept/here/")));
    assert.equal((await server.restore(setId, { overwrite: true })).length, 2);
    for (const destPath of ["../out", "/etc", "a/../../b", "x\0", backups[0]?.storagePath ?? ""]) {
      const failure = await refusal(server.backUp({ destPath }));
      assert.equal(failure.code, Code.InvalidArgument, destPath);
      assert.match(failure.message, /dest_path/);
    }
    assert.equal(
      reasonOf(await refusal(server.backUp({ namespace: "no" }))),
      "NAMESPACE_NOT_FOUND",
    );
    assert.equal(
      reasonOf(await refusal(server.backUp({ namespace: "system" }))),
      "SYSTEM_READ_ONLY",
    );
    const unknown = await refusal(server.backUp({ compression: 99 as Compression }));
    assert.equal(unknown.code, Code.InvalidArgument);
    assert.match(unknown.rawMessage, /^compression: /);
    assert.equal((await server.client.repo.listBackups({})).totalCount, 2n);
  });

  it("hold only what has changed if they are incremental, and are imported with their bases", async () => {
    await using source = await SetServer.open();
    await source.fill();
    await source.backUp();
    await source.put(7000);
    const { setId, backups } = await source.backUp({ incremental: true });
    const before = await source.state();
    assert.equal(backups.filter(({ baseBackupId }) => baseBackupId !== "").length, 3);
    await using target = await SetServer.open();
    await target.takeFolder(source);
    const imported = await target.client.backups.importBackups({});
    assert.deepEqual([imported.backups.length, imported.refused], [8, []]);
    assert.deepEqual(messagesOf(await target.restore(setId)), []);
    assert.deepEqual(await target.state(), before);
  });

  it("are not imported without the bases that they need", async () => {
    await using source = await SetServer.open();
    await source.fill();
    const first = await source.backUp();
    const second = await source.backUp({ incremental: true });
    await using target = await SetServer.open();
    await target.takeFolder(source);
    const path = second.setId;
    const alone = await target.client.backups.importBackups({ path });
    assert.equal(alone.backups.length, 1);
    assert.equal(alone.refused.length, 3);
    assert.match(alone.refused[0]?.reason ?? "", /based on backup/);
    await target.client.backups.importBackups({ path: first.setId });
    const rest = await target.client.backups.importBackups({ path });
    assert.deepEqual([rest.backups.length, rest.refused], [3, []]);
    const { backupId = "" } = rest.backups[0] ?? {};
    const { isValid, backup } = await target.client.repo.verifyBackup({ backupId });
    assert.ok(isValid);
    // What it is based on has been read as well.
    for (const id of [backupId, backup?.baseBackupId ?? ""]) {
      const { backups } = id === backupId ? second : first;
      const { sha256 } = await target.client.backups.getBackup({ backupId: id });
      assert.ok(sha256 !== "");
      assert.equal(sha256, backups.find((made) => made.backupId === id)?.sha256);
    }
  });

  it("need the identity if they are encrypted, to be imported as well as restored", async () => {
    const identity = await generateIdentity();
    const backupRecipients = [await identityToRecipient(identity)];
    await using source = await SetServer.open({ backupRecipients });
    await source.fill();
    const before = await source.state();
    const { setId, backups } = await source.backUp();
    assert.ok(backups.every(({ encrypted }) => encrypted));
    await using blind = await SetServer.open();
    await blind.takeFolder(source);
    const nothing = await blind.client.backups.importBackups({});
    assert.equal(nothing.backups.length, 0);
    assert.match(nothing.refused[0]?.reason ?? "", /no identity is configured/);
    await using keys = await tempFolder("keys");
    const backupIdentityFile = join(keys.path, "key.txt");
    await writeFile(backupIdentityFile, `${identity}\n`);
    await using target = await SetServer.open({ backupIdentityFile });
    await target.takeFolder(source);
    assert.equal((await target.client.backups.importBackups({})).backups.length, 4);
    for (const { backupId } of backups) {
      const { isValid, errorMessage } = await target.client.repo.verifyBackup({ backupId });
      assert.ok(isValid, errorMessage);
    }
    assert.deepEqual(messagesOf(await target.restore(setId)), []);
    assert.deepEqual(await target.state(), before);
  });

  it("fail in the end if one cannot be made, and keep the others", async () => {
    await using server = await SetServer.open();
    await server.fill();
    // The content of a file is lost on the disk.
    const stores = join(server.folder.path, "stores");
    const contents = (await readdir(stores, { recursive: true })).filter((name) =>
      /\/[0-9a-f]{64}$/.test(name),
    );
    assert.equal(contents.length, 1);
    await rm(join(stores, contents[0] ?? ""));
    const failure = await refusal(server.backUp());
    assert.match(failure.message, /1 of the 4 backups .* default\/notes: /);
    const { backups } = await server.client.repo.listBackups({});
    assert.deepEqual(backups.map(({ collection }) => collection?.name ?? "registry").sort(), [
      "drafts",
      "prices",
      "registry",
    ]);
    const restored = await server.restore(backups[0]?.setId ?? "", { overwrite: true });
    const missing = restored.find(({ backupId }) => backupId === "");
    assert.equal(missing?.collection?.name, "notes");
    assert.equal(missing?.status?.code, Status_Code.NOT_FOUND);
  });

  it("run as operations that tell how far they are, and leave whole backups when cancelled", async () => {
    await using server = await SetServer.open({ limits: { copiesMax: 1 } });
    await server.fill();
    const { operations, backups, repo } = server.client;
    const { operation } = await backups.backupServer({ returnImmediately: true });
    const name = operation?.name ?? "";
    await waitUntil("the first is made", 30_000, async () => {
      const { progressDone, progressTotal } = await operations.getOperation({ name });
      return progressDone > 0n && progressTotal === 4n;
    });
    await operations.cancelOperation({ name });
    const ended = await operations.waitOperation({ name });
    assert.ok(ended.done);
    const { backups: made } = await repo.listBackups({});
    if (ended.result.case === "error") assert.ok(made.length < 4);
    for (const { backupId } of made) assert.ok((await repo.verifyBackup({ backupId })).isValid);
    const onDisk = (await readdir(server.backupFolder, { recursive: true })).filter((file) =>
      file.endsWith(".collector"),
    );
    assert.equal(onDisk.length, made.length);
    const [one] = made;
    const restored = await server.restore(one?.setId ?? "", { overwrite: true });
    if (made.length < 4)
      assert.match(restored[0]?.status?.message ?? "", /no backup of the registry/);
  });

  it("are refused by a set that is not there", async () => {
    await using server = await SetServer.open();
    const { backups } = server.client;
    for (const setId of ["", "nothing"]) {
      const failure = await refusal(backups.restoreServer({ setId }));
      assert.equal(failure.code, setId === "" ? Code.InvalidArgument : Code.NotFound);
    }
  });
});

function messagesOf(restored: readonly RestoreServerResponse_Restored[]): string[] {
  return restored.flatMap(({ status }) =>
    status?.code === Status_Code.OK ? [] : [status?.message ?? "no status"],
  );
}

async function refusal(call: Promise<unknown>): Promise<ConnectError> {
  return await call.then(
    () => assert.fail("it was not refused"),
    (error: unknown) => ConnectError.from(error),
  );
}

async function flipByte(path: string): Promise<void> {
  const bytes = await readFile(path);
  const at = bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  await writeFile(path, bytes);
}

function withoutImportTime(backup: BackupMetadata): BackupMetadata {
  const { importTime, ...rest } = backup;
  return importTime === undefined ? backup : rest;
}
