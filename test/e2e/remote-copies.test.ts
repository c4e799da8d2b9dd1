import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { durationMs } from "@bufbuild/protobuf/wkt";
import type { Operation } from "../../src/gen/collector/operations_pb.ts";
import { CuttingProxy } from "../support/cutting-proxy.ts";
import { openRawServer } from "../support/outbound.ts";
import { Random } from "../support/random.ts";
import { refusalOf } from "../support/refusal.ts";
import { chunkBytes, TransferServer } from "../support/transfer-server.ts";
import { waitUntil } from "../support/wait.ts";

const seed = Number(process.env["COLLECTOR_SEED"] ?? 1);
/** What does not shrink, and takes a few chunks. */
const largeFile = randomBytes(5_500_000);

/** The two ways to a copy of `notes` of one server on another. */
const ways = {
  async clone(source: TransferServer, target: TransferServer, over = target.url, refresh = false) {
    const answer = await source.client.repo.clone({
      sourceCollection: { name: "notes" },
      destName: "copy",
      destEndpoint: over,
      includeFiles: true,
      refresh,
    });
    const { recordsCloned: records, filesCloned: files } = answer;
    return { ...answer, records, files };
  },
  async fetch(source: TransferServer, target: TransferServer, over = source.url, refresh = false) {
    const answer = await target.client.repo.fetch({
      sourceEndpoint: over,
      sourceCollection: { name: "notes" },
      destName: "copy",
      includeFiles: true,
      refresh,
    });
    const { recordsFetched: records, filesFetched: files } = answer;
    return { ...answer, records, files };
  },
};

describe("a copy on another server", () => {
  for (const [way, copy] of Object.entries(ways)) {
    it(`is made by ${way}, with types and files, and says what it took`, async () => {
      await using source = await TransferServer.open();
      await using target = await TransferServer.open();
      await source.fill(50, largeFile);
      const answer = await copy(source, target);
      assert.deepEqual([answer.records, answer.files, answer.incremental], [50n, 1n, false]);
      assert.ok(answer.bytesTransferred > BigInt(largeFile.length));
      assert.ok(answer.transferTime !== undefined && durationMs(answer.transferTime) > 0);
      assert.deepEqual(
        [answer.operation?.kind, answer.operation?.subject, answer.operation?.done],
        [way, "default/copy", true],
      );
      assert.deepEqual(await target.state("copy"), await source.state("notes"));
      const { collection } = await target.client.repo.route({ collection: { name: "copy" } });
      const original = await source.client.repo.route({ collection: { name: "notes" } });
      assert.equal(collection?.collectionId, answer.collectionId);
      assert.equal(collection?.origin?.collectionId, original.collection?.collectionId);
      assert.deepEqual([await source.staged(), await target.staged()], [[], []]);
    });

    it(`is brought up to date by ${way} with what has changed, or all if it was written to`, async () => {
      await using source = await TransferServer.open();
      await using target = await TransferServer.open();
      await source.fill(50, largeFile);
      const first = await copy(source, target, undefined, true);
      assert.equal(first.incremental, false);
      await source.put(50);
      await source.put(7);
      await source.client.records.delete({ collectionName: "notes", id: "n3" });
      await source.attach("photos/back.jpg", Buffer.from("another photo"));
      const second = await copy(source, target, undefined, true);
      assert.deepEqual([second.records, second.files, second.incremental], [50n, 2n, true]);
      assert.ok(second.bytesTransferred < 100_000n, String(second.bytesTransferred));
      assert.deepEqual(await target.state("copy"), await source.state("notes"));
      const third = await copy(source, target, undefined, true);
      assert.deepEqual([third.records, third.incremental], [50n, true]);

      await target.put(99, "copy");
      const fourth = await copy(source, target, undefined, true);
      assert.deepEqual([fourth.records, fourth.files, fourth.incremental], [50n, 2n, false]);
      assert.deepEqual(await target.state("copy"), await source.state("notes"));
    });

    it(`goes on by ${way} where it was cut, and nothing that came comes again`, async () => {
      const random = new Random(seed);
      await using source = await TransferServer.open();
      await source.fill(20, largeFile);
      const size = (await source.archive()).length;
      for (let round = 0; round < 3; round += 1) {
        await using target = await TransferServer.open();
        const isClone = way === "clone";
        await using proxy = await CuttingProxy.start({
          url: isClone ? target.url : source.url,
          direction: isClone ? "up" : "down",
          cutAfter: Array.from({ length: 3 }, () => random.between(20_000, size >> 1)),
        });
        const answer = await copy(source, target, proxy.url);
        assert.ok(proxy.cuts > 0);
        // Archives of the same data differ in what they say of their moment.
        assert.ok(Math.abs(Number(answer.bytesTransferred) - size) < 100);
        assert.ok(proxy.passedBytes < size + (proxy.cuts + 1) * (chunkBytes + 100_000));
        assert.deepEqual(await target.state("copy"), await source.state("notes"));
        assert.deepEqual([await source.staged(), await target.staged()], [[], []]);
      }
    });

    it(`is not made by ${way} where the name is taken or the type does not fit`, async () => {
      await using source = await TransferServer.open();
      await using target = await TransferServer.open();
      await source.fill(5);
      await target.client.registerNotes();
      await target.client.createNotes("copy");
      for (const refresh of [false, true]) {
        const refusal = await refusalOf(copy(source, target, undefined, refresh));
        assert.deepEqual([refusal.code, refusal.reason], ["AlreadyExists", "COLLECTION_EXISTS"]);
        assert.equal(refusal.message.includes(target.url), way === "clone");
      }
      assert.deepEqual(await target.names(), ["copy"]);
      assert.deepEqual([await source.staged(), await target.staged()], [[], []]);
    });

    it(`leaves nothing when ${way} is cancelled`, async () => {
      const limits = { transferIdleMs: 2000 };
      await using source = await TransferServer.open({ limits });
      await using target = await TransferServer.open({ limits });
      await source.fill(20, largeFile);
      // Nothing passes after the first cut, so that it is under way until it is cancelled.
      await using proxy = await CuttingProxy.start({
        url: way === "clone" ? target.url : source.url,
        direction: way === "clone" ? "up" : "down",
        cutAfter: [4_500_000, ...Array.from({ length: 50 }, () => 0)],
      });
      const server = way === "clone" ? source : target;
      const begun = copy(source, target, proxy.url);
      begun.catch(() => undefined);
      const running = await operationAt(server, way, way === "clone" ? "sending" : "receiving");
      await server.client.operations.cancelOperation({ name: running.name });
      const refusal = await refusalOf(begun);
      assert.equal(refusal.code, "Canceled");
      assert.ok(!(await target.names()).includes("copy"));
      await waitUntil("nothing is staged", 30_000, async () => {
        return (await source.staged()).length + (await target.staged()).length === 0;
      });
      assert.equal((await target.stores()).length, (await target.names()).length);
    });
  }

  it("tells whose failure it is", async () => {
    await using source = await TransferServer.open();
    await source.fill(2);
    await using old = await openRawServer((stream) => {
      stream.respond(
        { ":status": 200, "content-type": "application/grpc", "grpc-status": "12" },
        { endStream: true },
      );
    });
    const clone = (destEndpoint: string, name = "notes") =>
      refusalOf(source.client.repo.clone({ sourceCollection: { name }, destEndpoint }));
    const fetch = (sourceEndpoint: string, name = "notes") =>
      refusalOf(
        source.client.repo.fetch({ sourceEndpoint, sourceCollection: { name }, destName: "copy" }),
      );
    for (const refusal of [await clone(old.url), await fetch(old.url)]) {
      assert.deepEqual([refusal.code, refusal.reason], ["Unimplemented", "METHOD_UNIMPLEMENTED"]);
      assert.match(refusal.message, /does not serve transfers of collections: it runs an older/);
    }
    const { port } = old;
    await old[Symbol.asyncDispose]();
    for (const refusal of [await clone(`127.0.0.1:${port}`), await fetch(`127.0.0.1:${port}`)]) {
      assert.deepEqual([refusal.code, refusal.reason], ["Unavailable", "PEER_UNAVAILABLE"]);
      assert.match(refusal.message, /cannot be reached: connection refused/);
    }
    await using target = await TransferServer.open();
    const absent = await clone(target.url, "absent");
    assert.deepEqual([absent.code, absent.message.includes(target.url)], ["NotFound", false]);
    const there = await fetch(target.url, "absent");
    assert.deepEqual([there.code, there.message.includes(target.url)], ["NotFound", true]);
  });

  it("is on no server that is not listed, whatever its endpoint looks like", async () => {
    await using server = await TransferServer.open({ host: "0.0.0.0", insecure: true });
    await server.fill(1);
    const { port } = new URL(server.url);
    const texts = new Set<string>();
    for (const endpoint of [
      "http://2130706433:2379",
      "0x7f.1:80",
      "[::ffff:127.0.0.1]:6379",
      "169.254.169.254:80",
      "unix:///run/x.sock",
      `127.0.0.1:${port}`,
      `localhost:${port}`,
      "nowhere.invalid:80",
    ]) {
      const sourceCollection = { name: "notes" };
      const { repo } = server.client;
      for (const call of [
        repo.clone({ sourceCollection, destEndpoint: endpoint }),
        repo.fetch({ sourceCollection, sourceEndpoint: endpoint, destName: "copy" }),
      ]) {
        const { code, reason, message } = await refusalOf(call);
        assert.deepEqual([code, reason], ["PermissionDenied", "PEER_DENIED"], endpoint);
        texts.add(message.replace(/^\w+_endpoint: /, ""));
      }
    }
    assert.equal(texts.size, 1, [...texts].join("\n"));
  });
});

async function operationAt(
  server: TransferServer,
  kind: string,
  phase: string,
): Promise<Operation> {
  let found: Operation | undefined;
  await waitUntil(`${kind} is at ${phase}`, 60_000, async () => {
    const { operations } = await server.client.operations.listOperations({ kind });
    found = operations.find((operation) => !operation.done && operation.phase === phase);
    return found !== undefined && found.progressDone > 0n;
  });
  if (found === undefined) throw new Error("there is none");
  return found;
}
