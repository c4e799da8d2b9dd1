import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { ConnectError } from "@connectrpc/connect";
import { connect } from "../../src/client/client.ts";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { reasonOf } from "../support/found.ts";
import { Random } from "../support/random.ts";
import { refusalOf } from "../support/refusal.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { chunkBytes, messagesOf, TransferServer } from "../support/transfer-server.ts";
import { waitUntil } from "../support/wait.ts";

const seed = faultSeed();
/** What does not shrink, and takes a few chunks. */
const largeFile = randomBytes(5_500_000);

describe("archives on their way", () => {
  it("tell what is done before they come, to who asks for it", async () => {
    await using server = await TransferServer.open();
    await server.fill(50, largeFile);
    const kindsOf = async (reportProgress: boolean): Promise<string[]> => {
      const kinds: string[] = [];
      const request = { sourceCollection: { name: "notes" }, includeFiles: true, reportProgress };
      for await (const { data, progress } of server.client.repo.pullCollection(request)) {
        kinds.push(progress === undefined ? (data.case ?? "nothing") : `: ${progress.phase}`);
      }
      return kinds;
    };
    const told = await kindsOf(true);
    assert.equal(told[0], ": copying");
    const begin = told.indexOf("metadata");
    assert.ok(
      begin > 0 && told.slice(0, begin).every((kind) => /^: (copying|packing)$/.test(kind)),
    );
    assert.ok(told.slice(begin + 1).every((kind) => kind === "chunk"));
    assert.equal((await kindsOf(false))[0], "metadata");

    await using folder = await tempFolder("transfers-progress");
    await using client = await connect({ url: server.url });
    const phases = new Set<string>();
    await client.backups.download({ collection: "notes" }, join(folder.path, "notes.collector"), {
      onProgress: ({ phase }) => phases.add(phase),
    });
    assert.deepEqual([...phases].slice(0, 2), ["preparing", "copying"]);
    assert.equal([...phases].at(-1), "receiving");
  });

  it("are pulled from one server and pushed to another that never saw the collection", async () => {
    await using source = await TransferServer.open();
    await using target = await TransferServer.open();
    await source.fill(50, largeFile);
    const { metadata, bytes, chunkSizes } = await source.pull({
      sourceCollection: { name: "notes" },
      includeFiles: true,
    });
    assert.equal(metadata.totalSize, BigInt(bytes.length));
    assert.deepEqual([metadata.recordCount, metadata.fileCount], [50n, 1n]);
    assert.deepEqual(Buffer.from(metadata.sha256), createHash("sha256").update(bytes).digest());
    assert.deepEqual(
      [metadata.formatVersion, metadata.incremental, metadata.offset],
      [1, false, 0n],
    );
    const { collection } = await source.client.repo.route({ collection: { name: "notes" } });
    assert.equal(metadata.collectionId, collection?.collectionId);
    assert.equal(metadata.collection?.name, "notes");
    assert.ok(
      chunkSizes.slice(0, -1).every((size) => size === chunkBytes),
      String(chunkSizes),
    );

    const pushed = await target.push(
      {
        sourceCollection: { namespace: "default", name: "notes" },
        destName: "copy",
        messageType: { messageName: collection?.messageType?.messageName ?? "" },
        recordCount: 50n,
        fileCount: 1n,
        sha256: metadata.sha256,
        formatVersion: 1,
      },
      bytes,
    );
    assert.deepEqual([pushed.recordsCloned, pushed.filesCloned], [50n, 1n]);
    assert.equal(pushed.bytesReceived, BigInt(bytes.length));
    assert.deepEqual(await target.state("copy"), await source.state("notes"));
    const copy = (await target.client.repo.route({ collection: { name: "copy" } })).collection;
    assert.equal(copy?.collectionId, pushed.collectionId);
    assert.equal(copy?.origin?.collectionId, collection?.collectionId);
    assert.deepEqual(await target.staged(), []);

    await target.push({ overwrite: true, destName: "copy", includeFiles: false }, bytes);
    const replaced = await target.client.records.describe({ collectionName: "copy" });
    assert.deepEqual([replaced.recordCount, replaced.fileCount], [50n, 0n]);
  });

  it("go on wherever they are cut, and no chunk that has come comes again", async () => {
    const random = new Random(seed);
    await using source = await TransferServer.open();
    await using target = await TransferServer.open();
    await source.fill(20, largeFile);
    const path = join(source.folder.path, "archive");
    const size = (await source.archive()).length;
    const cutsOf = () => Array.from({ length: 3 }, () => random.between(20_000, size >> 1));
    for (let round = 0; round < 4; round += 1) {
      await using down = await CuttingProxy.start({
        url: source.url,
        direction: "down",
        cutAfter: cutsOf(),
      });
      await using from = await connect({ url: down.url });
      const { resumed } = await from.backups.download({ collection: "notes" }, path);
      assert.equal(resumed, down.cuts);
      assert.ok(resumed > 0);
      assertFewBytes("down", down, size);

      await using up = await CuttingProxy.start({
        url: target.url,
        direction: "up",
        cutAfter: cutsOf(),
      });
      await using to = await connect({ url: up.url });
      const uploaded = await to.backups.upload(path, { as: "copy", overwrite: true });
      assert.ok(uploaded.resumed > 0 && uploaded.resumed <= up.cuts);
      assertFewBytes("up", up, size);
      assert.deepEqual(await target.state("copy"), await source.state("notes"));
    }
    assert.deepEqual([await source.staged(), await target.staged()], [[], []]);
  });

  it("are gone on with from any byte that has come", async () => {
    await using server = await TransferServer.open();
    await server.fill(10, largeFile);
    const whole = await server.pull({ sourceCollection: { name: "notes" }, includeFiles: true });
    const { transferId } = whole.metadata;
    const { length } = whole.bytes;
    for (const offset of [0, 1, chunkBytes - 1, chunkBytes, 1_234_567, length - 1, length]) {
      const rest = await server.pull({ transferId, offset: BigInt(offset) });
      assert.equal(rest.metadata.offset, BigInt(offset));
      assert.ok(rest.bytes.equals(whole.bytes.subarray(offset)));
    }
    for (const offset of [-1n, BigInt(length + 1)]) {
      const refusal = await refusalOf(server.pull({ transferId, offset }));
      assert.deepEqual([refusal.code, refusal.fields], ["InvalidArgument", ["offset"]]);
    }
    const pushed = await server.pushPart({ destName: "copy" }, whole.bytes, 2 * chunkBytes);
    const known = await server.client.transfers.getTransfer({ transferId: pushed });
    assert.deepEqual([known.receivedBytes, known.response], [BigInt(2 * chunkBytes), undefined]);
    const behind = await refusalOf(
      server.push({ destName: "copy", transferId: pushed }, whole.bytes, 3 * chunkBytes),
    );
    assert.deepEqual([behind.code, behind.fields], ["InvalidArgument", ["offset"]]);
    // What came already may come again.
    await server.push({ destName: "copy", transferId: pushed }, whole.bytes, chunkBytes);
    assert.deepEqual(await server.state("copy"), await server.state("notes"));
  });

  it("answer the same to a sender that has lost the answer", async () => {
    await using server = await TransferServer.open();
    await server.fill(10);
    const bytes = await server.archive();
    const transferId = randomUUID();
    const first = await server.push({ destName: "copy", transferId }, bytes);
    const again = await server.push({ destName: "copy", transferId }, bytes);
    assert.deepEqual(again, first);
    const rest = await server.push({ destName: "copy", transferId }, bytes, bytes.length);
    assert.deepEqual(rest, first);
    const { response, receivedBytes } = await server.client.transfers.getTransfer({ transferId });
    assert.deepEqual(response, first);
    assert.equal(receivedBytes, BigInt(bytes.length));
    const other = await refusalOf(server.push({ destName: "other", transferId }, bytes));
    assert.deepEqual([other.code, other.fields], ["InvalidArgument", ["transfer_id"]]);
    await server.client.transfers.abandonTransfer({ transferId });
    const forgotten = await refusalOf(server.client.transfers.getTransfer({ transferId }));
    assert.equal(forgotten.reason, "TRANSFER_NOT_FOUND");
    const taken = await refusalOf(server.push({ destName: "copy", transferId }, bytes));
    assert.equal(taken.reason, "COLLECTION_EXISTS");
  });

  it("become collections when all of them came, whether or not the sender waits", async () => {
    await using server = await TransferServer.open();
    await server.fill(10, largeFile);
    const bytes = await server.archive();
    const transferId = randomUUID();
    const metadata = { destName: "copy", transferId, totalSize: BigInt(bytes.length) };
    {
      const messages = messagesOf({ ...metadata, includeFiles: true }, bytes, 0);
      await using push = server.beginPush(messages);
      await push.arrived(transferId, bytes.length);
      // Whether that was the end is known when the sender says so, or asks again.
    }
    const response = await server.push(metadata, bytes, bytes.length);
    assert.equal(response.recordsCloned, 10n);
    assert.deepEqual(await server.state("copy"), await server.state("notes"));
  });

  it("are of one stream at a time: the newest goes on", async () => {
    await using server = await TransferServer.open();
    await server.fill(10, largeFile);
    const bytes = await server.archive();
    const transferId = randomUUID();
    const totalSize = BigInt(bytes.length);
    const metadata = { destName: "copy", transferId, totalSize, includeFiles: true };
    const begun = bytes.subarray(0, 2 * chunkBytes);
    await using older = server.beginPush(messagesOf(metadata, begun, 0));
    await older.arrived(transferId, begun.length);
    const [newer, refused] = await Promise.all([
      server.push(metadata, bytes, chunkBytes),
      refusalOf(older.answer),
    ]);
    assert.equal(newer.recordsCloned, 10n);
    assert.deepEqual([refused.code, refused.reason], ["FailedPrecondition", "OPERATION_RUNNING"]);
    assert.deepEqual(await server.state("copy"), await server.state("notes"));

    // Many at once, of which one wins.
    const id = randomUUID();
    const all = await Promise.allSettled(
      Array.from({ length: 5 }, () => server.push({ destName: "many", transferId: id }, bytes)),
    );
    assert.ok(all.some(({ status }) => status === "fulfilled"));
    assert.deepEqual(await server.state("many"), await server.state("notes"));
    assert.deepEqual(await server.staged(), []);
  });

  it("are bounded in number, and make room when they are not needed any more", async () => {
    await using server = await TransferServer.open({ limits: { transfersMax: 2 } });
    await server.fill(10, largeFile);
    const bytes = await server.archive();
    const first = await server.pushPart({ destName: "one" }, bytes, chunkBytes);
    const second = await server.pushPart({ destName: "two" }, bytes, chunkBytes);
    const request = { sourceCollection: { name: "notes" } };
    for (const call of [server.push({ destName: "three" }, bytes), server.pull(request)]) {
      const failure = await call.then(
        () => assert.fail("there was room"),
        (error: unknown) => ConnectError.from(error),
      );
      assert.equal(reasonOf(failure), "OVERLOADED");
      assert.match(failure.message, /transfersMax is 2/);
      assert.equal(failure.findDetails(RetryInfoSchema).length, 1);
    }
    await server.client.transfers.abandonTransfer({ transferId: first });
    await server.pull(request);
    await server.pull(request);
    await server.push({ destName: "two", transferId: second }, bytes, chunkBytes);
    await server.push({ destName: "three" }, bytes);
    assert.deepEqual((await server.names()).sort(), ["notes", "three", "two"]);
  });

  it("that nobody has gone on with for a while make room too", async () => {
    await using server = await TransferServer.open({
      limits: { transfersMax: 1, transferIdleMs: 4000 },
    });
    await server.fill(10, largeFile);
    const request = { sourceCollection: { name: "notes" }, includeFiles: true };
    const hangUp = new AbortController();
    const { signal } = hangUp;
    const left = server.client.repo.pullCollection(request, { signal })[Symbol.asyncIterator]();
    await left.next();
    await assert.rejects(server.pull(request), (error) => {
      return reasonOf(ConnectError.from(error)) === "OVERLOADED";
    });
    hangUp.abort();
    await assert.rejects(async () => {
      while ((await left.next()).done !== true);
    });
    const endMs = performance.now() + 3000;
    for (;;) {
      const whole = await server.pull(request).catch((error: unknown) => {
        assert.equal(reasonOf(ConnectError.from(error)), "OVERLOADED");
      });
      if (whole !== undefined) break;
      assert.ok(performance.now() < endMs, "there was no room");
      await sleep(100);
    }
  });

  it("are gone when they are given up", async () => {
    await using server = await TransferServer.open();
    await server.fill(10, largeFile);
    const whole = await server.pull({ sourceCollection: { name: "notes" }, includeFiles: true });
    const pushed = await server.pushPart({ destName: "copy" }, whole.bytes, chunkBytes);
    assert.equal((await server.staged()).length, 2);
    for (const transferId of [whole.metadata.transferId, pushed, "never-was-one-of-these"]) {
      await server.client.transfers.abandonTransfer({ transferId });
    }
    assert.deepEqual(await server.staged(), []);
    const { transferId } = whole.metadata;
    const pull = await refusalOf(server.pull({ transferId, offset: 5n }));
    const rest = { destName: "copy", transferId: pushed };
    const push = await refusalOf(server.push(rest, whole.bytes, chunkBytes));
    const get = await refusalOf(server.client.transfers.getTransfer({ transferId: pushed }));
    for (const { code, reason } of [pull, push, get]) {
      assert.deepEqual([code, reason], ["NotFound", "TRANSFER_NOT_FOUND"]);
    }
    assert.deepEqual(await server.names(), ["notes"]);
  });

  it("are forgotten when nobody goes on with them, and when the server starts again", async () => {
    await using server = await TransferServer.open({ limits: { transferIdleMs: 150 } });
    await server.fill(10, largeFile);
    const { metadata, bytes } = await server.pull({ sourceCollection: { name: "notes" } });
    const pushed = await server.pushPart({ destName: "copy" }, bytes, bytes.length >> 1);
    await waitUntil("nothing is staged", 5000, async () => (await server.staged()).length === 0);
    const { transferId } = metadata;
    assert.equal((await refusalOf(server.pull({ transferId }))).reason, "TRANSFER_NOT_FOUND");
    const { operations } = await server.client.operations.listOperations({ kind: "push" });
    assert.equal(operations.length, 1);
    assert.equal(operations[0]?.result.case, "error");
    const get = server.client.transfers.getTransfer({ transferId: pushed });
    assert.equal((await refusalOf(get)).reason, "TRANSFER_NOT_FOUND");

    await using lasting = await TransferServer.open();
    await lasting.fill(10, largeFile);
    const archive = await lasting.archive();
    const part = await lasting.pushPart({ destName: "copy" }, archive, chunkBytes);
    assert.equal((await lasting.staged()).length, 1);
    await lasting.restart();
    assert.deepEqual(await lasting.staged(), []);
    const lost = lasting.client.transfers.getTransfer({ transferId: part });
    assert.equal((await refusalOf(lost)).reason, "TRANSFER_NOT_FOUND");
    assert.deepEqual(await lasting.names(), ["notes"]);
  });

  it("of a sender that hardly sends are given up", async () => {
    await using server = await TransferServer.open({
      limits: { streamIdleMs: 200, transferIdleMs: 200 },
    });
    await server.fill(1);
    const totalSize = 1_000_000n;
    const crumb = { data: { case: "chunk", value: new Uint8Array(1) } } as const;
    async function* slow(transferId: string) {
      yield {
        data: { case: "metadata", value: { destName: "copy", totalSize, transferId } },
      } as const;
      for (;;) {
        yield crumb;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
    for (const transferId of ["", randomUUID()]) {
      const { code, reason } = await refusalOf(server.client.repo.pushCollection(slow(transferId)));
      assert.deepEqual([code, reason], ["DeadlineExceeded", "DEADLINE_EXCEEDED"]);
    }
    await waitUntil("nothing is staged", 5000, async () => (await server.staged()).length === 0);
  });

  it("can be followed and cancelled as operations", async () => {
    await using server = await TransferServer.open();
    await server.fill(10, largeFile);
    const bytes = await server.archive();
    const id = await server.pushPart({ destName: "copy" }, bytes, chunkBytes);
    const { operations } = server.client;
    const [operation] = (await operations.listOperations({ kind: "push" })).operations;
    assert.equal(operation?.done, false);
    const { subject, phase, progressTotal } = operation ?? {};
    assert.deepEqual([subject, phase, progressTotal], ["copy", "receiving", BigInt(bytes.length)]);
    const name = operation?.name ?? "";
    await operations.cancelOperation({ name });
    await operations.waitOperation({ name });
    assert.deepEqual(await server.staged(), []);
    const rest = await refusalOf(server.push({ destName: "copy", transferId: id }, bytes, 5));
    assert.equal(rest.reason, "TRANSFER_NOT_FOUND");
  });
});

/** No more has passed than the archive and, for each cut, a chunk and what the sockets held. */
function assertFewBytes(way: string, proxy: CuttingProxy, size: number): void {
  const again = proxy.passedBytes - size;
  assert.ok(
    again < (proxy.cuts + 1) * 2 * chunkBytes,
    `${way}: ${again} bytes, ${proxy.cuts} cuts`,
  );
}
