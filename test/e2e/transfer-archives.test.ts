import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { generateIdentity, identityToRecipient } from "age-encryption";
import type { PullCollectionRequestSchema } from "../../src/gen/collector/collection_repo_pb.ts";
import { refusalOf } from "../support/refusal.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { type PushMessage, TransferServer } from "../support/transfer-server.ts";

/** What does not shrink, and takes a few chunks. */
const largeFile = randomBytes(5_500_000);

type PullRequest = MessageInitShape<typeof PullCollectionRequestSchema>;

describe("archives that are sent and taken", () => {
  it("may be a backup as it is, if it is a whole one", async () => {
    await using source = await TransferServer.open();
    await source.fill(20);
    const request = { collection: { name: "notes" }, includeFiles: true };
    const { backup } = await source.client.repo.backupCollection(request);
    const backupId = backup?.backupId ?? "";
    const before = await source.state("notes");
    await source.put(20);
    const { backup: later } = await source.client.repo.backupCollection({
      ...request,
      baseBackupId: backupId,
    });
    const { metadata, bytes } = await source.pull({ backupId });
    assert.equal(Buffer.from(metadata.sha256).toString("hex"), backup?.sha256);
    assert.deepEqual([metadata.recordCount, metadata.collection?.name], [20n, "notes"]);
    await source.push({ destName: "restored" }, bytes);
    assert.deepEqual(await source.state("restored"), before);
    const { collection } = await source.client.repo.route({ collection: { name: "restored" } });
    assert.equal(collection?.metadata?.labels["restored-from-backup"], backupId);
    const incremental = await refusalOf(source.pull({ backupId: later?.backupId ?? "" }));
    assert.deepEqual(
      [incremental.code, incremental.reason],
      ["FailedPrecondition", "BASE_UNUSABLE"],
    );
    const both = { backupId: later?.backupId ?? "", sourceCollection: { name: "notes" } };
    const unclear = await refusalOf(source.pull(both));
    assert.equal(unclear.reason, "ARGUMENT_INVALID");
    const unknown = await refusalOf(source.pull({ backupId: "none" }));
    assert.equal(unknown.reason, "BACKUP_NOT_FOUND");
  });

  it("are refused with what is wrong, and the next call is served", async () => {
    await using server = await TransferServer.open();
    await server.fill(3);
    const bytes = await server.archive();
    const { repo } = server.client;
    const metadata = {
      data: { case: "metadata", value: { destName: "copy", totalSize: BigInt(bytes.length) } },
    } as const;
    const chunk = { data: { case: "chunk", value: bytes.subarray(0, 100) } } as const;
    const pushes: readonly [readonly PushMessage[], string, string][] = [
      [[], "ARGUMENT_MISSING", "metadata"],
      [[chunk], "ARGUMENT_MISSING", "metadata"],
      [[{}], "ARGUMENT_MISSING", "metadata"],
      [[metadata, metadata], "ARGUMENT_INVALID", "metadata"],
      [[metadata, chunk, {}], "ARGUMENT_INVALID", "chunk"],
      [[metadata, chunk], "CONTENT_MISMATCH", "total_size"],
      [[metadata, { ...chunk, chunkCrc32: 1 }], "CONTENT_MISMATCH", "chunk_crc32"],
    ];
    for (const [messages, reason, field] of pushes) {
      const refusal = await refusalOf(repo.pushCollection(inTurn(messages)));
      assert.deepEqual([refusal.reason, refusal.fields], [reason, [field]], refusal.message);
    }
    const source = { sourceCollection: { name: "notes" } };
    const pulls: readonly [PullRequest, string][] = [
      [{}, "ARGUMENT_MISSING"],
      [{ sourceCollection: { name: "none" } }, "COLLECTION_NOT_FOUND"],
      [{ sourceCollection: { namespace: "system", name: "protos" } }, "SYSTEM_READ_ONLY"],
      [{ ...source, offset: 1n }, "ARGUMENT_INVALID"],
      [{ ...source, formatVersion: -1 }, "ARGUMENT_INVALID"],
      [{ transferId: "unknown" }, "TRANSFER_NOT_FOUND"],
    ];
    for (const [request, reason] of pulls) {
      assert.equal((await refusalOf(server.pull(request))).reason, reason);
    }
    const nothing = await refusalOf(server.client.transfers.getTransfer({}));
    assert.equal(nothing.reason, "TRANSFER_NOT_FOUND");
    assert.deepEqual([await server.staged(), await server.names()], [[], ["notes"]]);
    assert.equal((await server.push({ destName: "copy" }, bytes)).recordsCloned, 3n);
  });

  it("are sent to newer readers, not to older ones", async () => {
    await using server = await TransferServer.open();
    await server.fill(3);
    const request = { sourceCollection: { name: "notes" } };
    for (const formatVersion of [0, 1, 7]) {
      const { metadata } = await server.pull({ ...request, formatVersion });
      assert.equal(metadata.formatVersion, 1);
    }
    const { bytes } = await server.pull(request);
    const newer = await refusalOf(server.push({ destName: "copy", formatVersion: 3 }, bytes));
    assert.deepEqual([newer.code, newer.reason], ["FailedPrecondition", "ARCHIVE_TOO_NEW"]);
    assert.match(newer.message, /format 3, and its receiver reads up to 2/);
  });

  it("may be encrypted backups, for whoever has the key", async () => {
    const identity = await generateIdentity();
    await using keys = await tempFolder("keys");
    const backupIdentityFile = join(keys.path, "key.txt");
    await writeFile(backupIdentityFile, `${identity}\n`);
    const backupRecipients = [await identityToRecipient(identity)];
    await using source = await TransferServer.open({ backupRecipients });
    await using target = await TransferServer.open({ backupIdentityFile });
    await source.fill(10, largeFile);
    const request = { collection: { name: "notes" }, includeFiles: true };
    const { backup } = await source.client.repo.backupCollection(request);
    const { metadata, bytes } = await source.pull({ backupId: backup?.backupId ?? "" });
    assert.match(bytes.subarray(0, 30).toString("latin1"), /^age-encryption/);
    assert.equal(metadata.collection?.name, "notes");
    const locked = await refusalOf(source.push({ destName: "copy" }, bytes));
    assert.deepEqual([locked.code, locked.reason], ["FailedPrecondition", "KEY_UNAVAILABLE"]);
    const { sha256 } = metadata;
    await target.push({ destName: "copy", sha256 }, bytes);
    assert.deepEqual(await target.state("copy"), await source.state("notes"));
  });
});

async function* inTurn(messages: readonly PushMessage[]): AsyncGenerator<PushMessage> {
  yield* messages;
}
