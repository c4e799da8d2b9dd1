import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { type Client, connect } from "../../src/client/client.ts";
import type { BackupMetadata } from "../../src/gen/collector/collection_repo_pb.ts";
import { refusalOf } from "../support/refusal.ts";
import { TransferServer } from "../support/transfer-server.ts";

const fileBytes = 200_000;

/** A server with a collection that has one file, and its client. */
class Bench implements AsyncDisposable {
  readonly server: TransferServer;
  readonly client: Client;
  /** Does not get smaller when it is compressed. */
  readonly photo = randomBytes(fileBytes);

  private constructor(server: TransferServer, client: Client) {
    this.server = server;
    this.client = client;
  }

  static async open(): Promise<Bench> {
    const server = await TransferServer.open();
    const bench = new Bench(server, await connect({ url: server.url }));
    await server.fill(5, bench.photo);
    return bench;
  }

  async backUp(base?: BackupMetadata): Promise<BackupMetadata> {
    const { backups } = this.client;
    return await backups.create("notes", base === undefined ? {} : { baseBackupId: base.backupId });
  }

  async remove(): Promise<void> {
    await this.client.files("notes").delete("photos/front.jpg");
  }

  async attach(): Promise<void> {
    await this.server.attach("photos/front.jpg", this.photo);
  }

  /** A backup is found valid, and gives back all that is there now. */
  async assertRestores({ backupId }: BackupMetadata): Promise<void> {
    const { isValid, errorMessage } = await this.client.backups.verify(backupId);
    assert.equal(isValid, true, errorMessage);
    await this.client.backups.restore(backupId, { as: "restored", overwrite: true });
    assert.deepEqual(await this.server.state("restored"), await this.server.state("notes"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.client[Symbol.asyncDispose]();
    await this.server[Symbol.asyncDispose]();
  }
}

describe("files in a chain of backups", () => {
  it("are in the next one again when they went and came back", async () => {
    await using bench = await Bench.open();
    const full = await bench.backUp();
    await bench.remove();
    const without = await bench.backUp(full);
    await bench.attach();
    const again = await bench.backUp(without);
    assert.ok(again.contentBytes > BigInt(fileBytes), "what its base has not is not in it");
    await bench.assertRestores(again);
    await bench.server.put(6);
    await bench.assertRestores(await bench.backUp(again));
  });

  it("may be more than an archive names one by one", async () => {
    await using bench = await Bench.open();
    const put = async (from: number, to: number): Promise<void> => {
      const numbers = Array.from({ length: to - from }, (_, index) => from + index);
      await Promise.all(
        numbers.map((number) =>
          bench.client.files("notes").put(`many/${number}`, Buffer.from(`no ${number}`)),
        ),
      );
    };
    await put(0, 1100);
    const full = await bench.backUp();
    assert.equal(full.fileCount, 1101n);
    await put(1100, 1103);
    const next = await bench.backUp(full);
    assert.deepEqual([next.fileCount, next.baseBackupId], [1104n, full.backupId]);
    await put(1103, 2150);
    await bench.assertRestores(await bench.backUp(next));
    const { server } = bench;
    const { backupId } = full;
    const old = await refusalOf(server.pull({ backupId }));
    assert.deepEqual([old.code, old.reason], ["FailedPrecondition", "ARCHIVE_TOO_NEW"]);
    const { metadata, bytes } = await server.pull({ backupId, formatVersion: 2 });
    assert.equal(metadata.formatVersion, 2);
    assert.equal((await server.push({ destName: "pushed" }, bytes)).filesCloned, 1101n);
  });

  it("are left out of those after it as long as they stay, also under another name", async () => {
    await using bench = await Bench.open();
    let last = await bench.backUp();
    for (const name of ["photos/back.jpg", "photos/side.jpg"]) {
      await bench.server.attach(name, bench.photo);
      last = await bench.backUp(last);
      assert.ok(last.contentBytes < BigInt(fileBytes), "what its base has is in it again");
      await bench.assertRestores(last);
    }
    await bench.remove();
    last = await bench.backUp(last);
    assert.ok(last.contentBytes < BigInt(fileBytes));
    await bench.assertRestores(last);
  });
});
