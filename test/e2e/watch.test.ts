import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type Any, DurationSchema } from "@bufbuild/protobuf/wkt";
import { Code, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";
import fc from "fast-check";
import { RecordStreams } from "../../src/gen/collector/record_streams_pb.ts";
import type { Limits } from "../../src/lib/limits.ts";
import { type Collector, createCollector } from "../../src/server.ts";
import { Follower, replay } from "../support/follower.ts";
import { reasonOf } from "../support/found.ts";
import { noteItem, noteTypeName } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const quiet = { port: 0, logLevel: "silent" } as const;
const notes = { collectionName: "notes" };

class Served implements AsyncDisposable {
  readonly server: Collector;
  readonly client: TestClient;
  readonly #folder: AsyncDisposable;

  constructor(server: Collector, client: TestClient, folder: AsyncDisposable) {
    this.server = server;
    this.client = client;
    this.#folder = folder;
  }

  static async open(limits: Partial<Limits> = {}): Promise<Served> {
    const folder = await tempFolder("watch");
    const server = await createCollector({ ...quiet, data: folder.path, limits });
    const client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes");
    return new Served(server, client, folder);
  }

  watch(request: { where?: string; resumeToken?: string; idsOnly?: boolean } = {}) {
    return Follower.open(this.client.transport, { ...notes, ...request });
  }

  async put(id: string, item: Any, labels?: Record<string, string>): Promise<bigint> {
    const change = labels === undefined ? {} : { labels, updateLabels: true };
    const request = { ...notes, id, item, allowMissing: true, ...change };
    const { meta } = await this.client.records.update(request);
    return BigInt(meta?.version ?? 0);
  }

  async remove(id: string): Promise<void> {
    await this.client.records.delete({ ...notes, id, allowMissing: true });
  }

  /** Ids and versions of the records for which `where` holds. */
  async matching(where: string): Promise<Map<string, string>> {
    const found = new Map<string, string>();
    let pageToken = "";
    do {
      const page = await this.client.records.list({ ...notes, where, pageSize: 1000, pageToken });
      for (const { id, version } of page.metas) found.set(id, version);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.server.close();
    await this.#folder[Symbol.asyncDispose]();
  }
}

describe("Watch", () => {
  it("tells what is created, updated and deleted, in order, with the records", async () => {
    await using served = await Served.open();
    await served.put("old", noteItem(1));
    await using follower = await served.watch();
    await served.put("a", noteItem(1));
    await served.put("a", noteItem(2), { shelf: "top" });
    await served.client.records.update({ ...notes, id: "a", labels: { shelf: "low" } });
    await served.remove("a");
    assert.deepEqual(await follower.seen(4), ["created a", "updated a", "updated a", "deleted a"]);
    const [created, updated, relabelled, deleted] = follower.changes;
    assert.deepEqual(created?.item, noteItem(1));
    assert.deepEqual(updated?.item, noteItem(2));
    assert.deepEqual(updated?.meta?.labels, { shelf: "top" });
    assert.deepEqual(relabelled?.meta?.labels, { shelf: "low" });
    assert.equal(deleted?.item, undefined);
    assert.ok(BigInt(deleted?.meta?.version ?? 0) > BigInt(relabelled?.meta?.version ?? 0));
  });

  it("tells of the steps of a batch one by one, each with what was before it", async () => {
    await using served = await Served.open();
    await using follower = await served.watch({ where: "writing >= 5" });
    const of = (number: number) => ({ id: "a", item: noteItem(number) });
    await served.client.records.batch({
      ...notes,
      operations: [
        { operation: { case: "create", value: of(1) } },
        { operation: { case: "update", value: of(6) } },
        { operation: { case: "update", value: of(7) } },
        { operation: { case: "update", value: of(2) } },
        { operation: { case: "delete", value: { id: "a" } } },
        { operation: { case: "create", value: of(9) } },
      ],
    });
    assert.deepEqual(await follower.seen(4), ["created a", "updated a", "left a", "created a"]);
  });

  it("tells who filters when a record enters and when it leaves", async () => {
    await using served = await Served.open();
    await served.put("a", noteItem(3));
    await using follower = await served.watch({ where: "writing < 5" });
    await served.put("b", noteItem(8));
    await served.put("a", noteItem(9));
    await served.put("b", noteItem(1));
    await served.put("b", noteItem(2));
    await served.remove("a");
    await served.remove("b");
    const log = ["left a", "created b", "updated b", "deleted b"];
    assert.deepEqual(await follower.seen(4), log);
    assert.equal(follower.changes[0]?.item, undefined);
    assert.equal(follower.changes[0]?.meta?.id, "a");
  });

  it("filters by labels and by what the server knows of a record", async () => {
    await using served = await Served.open();
    await using byLabel = await served.watch({ where: '@labels.team = "red"' });
    await using byId = await served.watch({ where: '@id = "b" OR @id = "c"' });
    await served.put("a", noteItem(1), { team: "red" });
    await served.put("a", noteItem(1), { team: "blue" });
    await served.client.records.update({ ...notes, id: "a", labels: { team: "red" } });
    await served.put("b", noteItem(1));
    assert.deepEqual(await byLabel.seen(3), ["created a", "left a", "created a"]);
    assert.deepEqual(byLabel.changes[2]?.item, noteItem(1));
    assert.deepEqual(await byId.seen(1), ["created b"]);
  });

  it("leaves the records out for ids_only", async () => {
    await using served = await Served.open();
    await using follower = await served.watch({ idsOnly: true });
    await served.put("a", noteItem(1));
    await follower.seen(1);
    assert.equal(follower.changes[0]?.item, undefined);
    assert.equal(follower.changes[0]?.meta?.id, "a");
  });

  it("works over Connect and gRPC-Web", async () => {
    await using served = await Served.open();
    const options = { baseUrl: served.server.url, httpVersion: "1.1" as const };
    const json = createConnectTransport({ ...options, useBinaryFormat: false });
    const binary = createConnectTransport({ ...options, useBinaryFormat: true });
    for (const transport of [json, binary, createGrpcWebTransport(options)]) {
      // Such a client would need the types to read the JSON of a record.
      const request = { ...notes, idsOnly: transport === json };
      await using follower = await Follower.open(transport, request);
      await served.put("a", noteItem(1));
      await follower.seen(1);
      await served.remove("a");
      assert.deepEqual(await follower.seen(2), ["created a", "deleted a"]);
    }
  });

  it("catches up what happened while nobody watched, several changes as one", async () => {
    await using served = await Served.open();
    await served.put("a", noteItem(1));
    await served.put("b", noteItem(1));
    await served.put("c", noteItem(1));
    let token: string;
    {
      await using follower = await served.watch({ where: "writing < 5" });
      token = follower.token;
    }
    await served.put("a", noteItem(2));
    await served.put("a", noteItem(3));
    await served.put("b", noteItem(7));
    await served.remove("c");
    await served.put("d", noteItem(4));
    await using follower = await served.watch({ where: "writing < 5", resumeToken: token });
    assert.deepEqual(await follower.seen(4), ["updated a", "left b", "deleted c", "created d"]);
    await served.put("e", noteItem(1));
    assert.deepEqual((await follower.seen(5)).slice(4), ["created e"]);
  });

  it("gives a quiet watch fresh tokens, which do not grow old with the history", async () => {
    await using served = await Served.open({ watchHeartbeatMs: 500, tombstonesMax: 2 });
    await using follower = await served.watch({ where: 'title = "there is none"' });
    const [first = ""] = follower.tokens;
    for (let number = 0; number < 5; number += 1) {
      await served.put(`a${number}`, noteItem(1));
      await served.remove(`a${number}`);
    }
    const count = follower.tokens.length;
    await waitUntil("a fresh token", 10_000, () => follower.tokens.length > count);
    assert.equal(follower.changes.length, 0);
    await using other = await served.watch({ resumeToken: follower.token });
    assert.equal(other.failure, undefined);
    const late = new Follower(served.client.transport, { ...notes, resumeToken: first });
    const failure = await late.ended();
    assert.equal(reasonOf(failure), "HISTORY_GONE");
    assert.equal(failure.code, Code.FailedPrecondition);
  });

  it("refuses tokens that are none, or of another collection, and filters that are none", async () => {
    await using served = await Served.open();
    await served.client.createNotes("others");
    await using other = await Follower.open(served.client.transport, { collectionName: "others" });
    for (const request of [
      { resumeToken: "garbage" },
      { resumeToken: other.token },
      { where: "writing <" },
      { where: "no_such_field = 1" },
    ]) {
      const refused = new Follower(served.client.transport, { ...notes, ...request });
      const { code } = await refused.ended();
      assert.equal(code, Code.InvalidArgument, JSON.stringify(request));
    }
  });

  it("refuses more watches than its limit, and takes one when another has ended", async () => {
    await using served = await Served.open({ watchesMax: 1 });
    {
      await using follower = await served.watch();
      const refused = new Follower(served.client.transport, notes);
      assert.equal(reasonOf(await refused.ended()), "OVERLOADED");
      assert.equal(follower.failure, undefined);
    }
    await waitUntil("there is room again", 10_000, async () => {
      await using follower = await served.watch();
      return follower.failure === undefined;
    });
  });

  it("ends with NOT_FOUND when the collection is deleted", async () => {
    await using served = await Served.open();
    await using follower = await served.watch();
    await served.client.admin.deleteCollection({ collection: { name: "notes" } });
    const failure = await follower.ended();
    assert.equal(failure.code, Code.NotFound);
    assert.equal(reasonOf(failure), "COLLECTION_NOT_FOUND");
  });

  it("goes on when the collection is renamed, and its tokens too", async () => {
    await using served = await Served.open();
    await using follower = await served.watch();
    await served.client.admin.renameCollection({ collection: { name: "notes" }, newName: "new" });
    await served.client.records.create({ collectionName: "new", id: "a", item: noteItem(1) });
    assert.deepEqual(await follower.seen(1), ["created a"]);
    const request = { collectionName: "new", resumeToken: follower.tokens[0] ?? "" };
    await using again = await Follower.open(served.client.transport, request);
    assert.deepEqual(await again.seen(1), ["created a"]);
  });

  it("ends with UNAVAILABLE when the server shuts down, which does not wait for it", async () => {
    await using served = await Served.open({ drainMs: 120_000 });
    await using follower = await served.watch();
    const closed = served.server.close();
    const failure = await follower.ended();
    assert.equal(failure.code, Code.Unavailable);
    assert.equal(reasonOf(failure), "SHUTTING_DOWN");
    served.client[Symbol.dispose]();
    await closed;
  });

  it("tells of records that expire as deleted", async () => {
    await using served = await Served.open();
    const timeToLive = create(DurationSchema, { seconds: 1n });
    await served.client.repo.createCollection({
      collection: {
        name: "short",
        messageType: { messageName: noteTypeName },
        expiry: { when: { case: "timeToLive", value: timeToLive } },
      },
    });
    const collectionName = "short";
    await using follower = await Follower.open(served.client.transport, { collectionName });
    await using filtered = await Follower.open(served.client.transport, {
      collectionName,
      where: "writing = 1",
    });
    await served.client.records.create({ collectionName, id: "a", item: noteItem(1) });
    assert.deepEqual(await follower.seen(2), ["created a", "deleted a"]);
    assert.deepEqual(await filtered.seen(2), ["created a", "deleted a"]);
  });

  it("watches the collections of the server itself", async () => {
    await using served = await Served.open();
    const request = { namespace: "system", collectionName: "collections" };
    await using follower = await Follower.open(served.client.transport, request);
    await served.client.createNotes("more");
    await follower.seen(1);
    assert.match(follower.log[0] ?? "", /^created /);
  });

  it("holds nothing back for a reader that does not read, who loses nothing", async () => {
    await using served = await Served.open({ watchQueueChangesMax: 20 });
    const streams = new AbortController();
    const watching = createClient(RecordStreams, served.client.transport).watch(notes, {
      signal: streams.signal,
      timeoutMs: 0,
    });
    const reader = watching[Symbol.asyncIterator]();
    await reader.next();
    for (let round = 0; round < 40; round += 1) {
      const operations = Array.from({ length: 50 }, (_, index) => ({
        operation: {
          case: "update" as const,
          value: { id: `r${index}-${round}`, item: noteItem(round), allowMissing: true },
        },
      }));
      await served.client.records.batch({ ...notes, operations });
    }
    const state = new Map<string, string>();
    const expected = await served.matching("");
    while (state.size < expected.size) {
      const { value } = await reader.next();
      for (const [id, version] of replay(value?.changes ?? [])) state.set(id, version);
    }
    assert.deepEqual(state, expected);
    streams.abort();
  });
});

describe("The changes of a watch", () => {
  const wheres = [
    "",
    "writing >= 5",
    "writing = 3",
    "NOT writing = 3",
    '@labels.team = "red"',
    '@labels.team = "red" AND writing < 7',
    '@id = "a" OR @id = "b"',
  ];
  const id = fc.constantFrom("a", "b", "c", "d", "e");
  const team = fc.constantFrom(undefined, "red", "blue");
  const action = fc.oneof(
    { weight: 5, arbitrary: fc.record({ put: id, number: fc.nat(9), team }) },
    { weight: 2, arbitrary: fc.record({ remove: id }) },
    { weight: 1, arbitrary: fc.record({ cut: fc.nat(wheres.length - 1) }) },
    { weight: 1, arbitrary: fc.record({ batch: fc.array(fc.tuple(id, fc.nat(9))) }) },
  );

  it("make what a list finds, whatever is written and whenever the watch is cut off", async () => {
    await using served = await Served.open({ watchQueueChangesMax: 3 });
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 30 }), async (actions) => {
        const states = await Promise.all(wheres.map((where) => served.matching(where)));
        const followers = await Promise.all(wheres.map((where) => served.watch({ where })));
        const take = (index: number): void => {
          const changes = followers[index]?.changes.splice(0) ?? [];
          states[index] = replay(changes, states[index]);
        };
        for (const one of actions) {
          if ("put" in one) {
            const labels = one.team === undefined ? undefined : { team: one.team };
            await served.put(one.put, noteItem(one.number), labels);
          } else if ("remove" in one) {
            await served.remove(one.remove);
          } else if ("batch" in one) {
            if (one.batch.length === 0) continue;
            const operations = one.batch.map(([target, number]) => ({
              operation: {
                case: "update" as const,
                value: { id: target, item: noteItem(number), allowMissing: true },
              },
            }));
            await served.client.records.batch({ ...notes, operations });
          } else {
            const { cut } = one;
            const resumeToken = followers[cut]?.token ?? "";
            await followers[cut]?.[Symbol.asyncDispose]();
            // What came after the token was read is in it as well.
            const last = followers[cut]?.token ?? resumeToken;
            take(cut);
            const where = wheres[cut] ?? "";
            followers[cut] = await served.watch({ where, resumeToken: last });
          }
        }
        for (const [index, where] of wheres.entries()) {
          const expected = await served.matching(where);
          await waitUntil(`the watch of "${where}" has all`, 20_000, () => {
            take(index);
            assert.deepEqual(states[index], expected);
            return true;
          });
        }
        await Promise.all(followers.map((follower) => follower[Symbol.asyncDispose]()));
      }),
      { numRuns: 25 },
    );
  });
});
