import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { describe, it } from "node:test";
import { clone } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { connect } from "../../src/client/client.ts";
import type { CopyState } from "../../src/gen/collector/collection_repo_pb.ts";
import { noteFile } from "../support/notes.ts";
import { refusalOf } from "../support/refusal.ts";
import { type Pulled, TransferServer } from "../support/transfer-server.ts";
import { waitUntil } from "../support/wait.ts";

const source = { namespace: "default", name: "notes" };
const copyName = { namespace: "default", name: "copy" };

/** A server with a collection, and one with a copy of it. */
class Mirrored implements AsyncDisposable {
  readonly source: TransferServer;
  readonly target: TransferServer;

  private constructor(source: TransferServer, target: TransferServer) {
    this.source = source;
    this.target = target;
  }

  static async open(): Promise<Mirrored> {
    const mirrored = new Mirrored(await TransferServer.open(), await TransferServer.open());
    await mirrored.source.fill(30, randomBytes(300_000));
    await mirrored.push(await mirrored.pull());
    return mirrored;
  }

  async pull(have?: CopyState): Promise<Pulled> {
    return await this.source.pull({
      sourceCollection: source,
      includeFiles: true,
      ...(have === undefined ? {} : { have }),
    });
  }

  /** What the copy says of itself. */
  async state(): Promise<CopyState> {
    const answer = await this.target.client.transfers.describeCopy({ collection: copyName });
    assert.equal(answer.exists, true);
    assert.ok(answer.state, "the copy has no state");
    return answer.state;
  }

  async push({ metadata, bytes }: Pulled, have?: CopyState): Promise<bigint> {
    const { sha256, recordCount, fileCount } = metadata;
    const base = have === undefined ? {} : baseOf(have);
    const all = { sourceCollection: source, destName: "copy", refresh: true, sha256 };
    const answer = await this.target.push({ ...all, recordCount, fileCount, ...base }, bytes);
    return answer.recordsCloned;
  }

  async assertSame(): Promise<void> {
    assert.deepEqual(await this.target.state("copy"), await this.source.state("notes"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.source[Symbol.asyncDispose]();
    await this.target[Symbol.asyncDispose]();
  }
}

/** Waits until the records of a collection are derived anew. */
async function derivedAnew({ client }: TransferServer, collection: string): Promise<void> {
  await waitUntil(`${collection} is derived anew`, 20_000, async () => {
    const { operations } = await client.operations.listOperations({ kind: "type-upgrade" });
    return operations.some(({ subject, done }) => subject === collection && done);
  });
}

function baseOf(have: CopyState) {
  return { baseRevision: have.revision, baseIncarnation: have.incarnation };
}

describe("deltas on their way", () => {
  it("bring only what has changed to a copy that nobody has written to", async () => {
    await using both = await Mirrored.open();
    const { collectionId } = (await both.pull()).metadata;
    for (let round = 0; round < 3; round += 1) {
      const have = await both.state();
      assert.equal(have.contentSha256.length, 1 + round);
      await both.source.put(round);
      await both.source.put(100 + round);
      await both.source.client.records.delete({ collectionName: "notes", id: `n${10 + round}` });
      await both.source.attach(`more-${round}`, randomBytes(1000));
      const delta = await both.pull(have);
      assert.equal(delta.metadata.incremental, true);
      assert.ok(delta.bytes.length < 20_000, `${delta.bytes.length} bytes`);
      assert.equal(await both.push(delta, have), 30n);
      await both.assertSame();
      const { collection } = await both.target.client.repo.route({ collection: copyName });
      assert.equal(collection?.generation, BigInt(2 + round));
      const after = await both.target.client.transfers.describeCopy({ collection: copyName });
      assert.equal(after.sourceCollectionId, collectionId);
      assert.ok((after.state?.revision ?? 0n) > have.revision);
    }
    // Nothing has changed: that is a delta too.
    const have = await both.state();
    const none = await both.pull(have);
    assert.equal(none.metadata.incremental, true);
    await both.push(none, have);
    await both.assertSame();
  });

  it("bring files again that went and came back", async () => {
    await using both = await Mirrored.open();
    const photo = randomBytes(300_000);
    const name = "photos/back.jpg";
    await using client = await connect({ url: both.source.url });
    const files = client.files("notes");
    const steps = [() => files.put(name, photo), () => files.delete(name)];
    for (const step of [...steps, ...steps, ...steps.slice(0, 1)]) {
      await step();
      const have = await both.state();
      const delta = await both.pull(have);
      assert.equal(delta.metadata.incremental, true);
      await both.push(delta, have);
      await both.assertSame();
    }
  });

  it("are no deltas where what changed cannot be told", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    for (const other of [
      { ...have, incarnation: "another" },
      { ...have, revision: have.revision + 1_000n },
      { ...have, revision: 0n },
    ]) {
      const all = await both.pull(other);
      assert.equal(all.metadata.incremental, false);
      assert.equal(all.metadata.recordCount, 30n);
    }
    const wrong = await refusalOf(both.pull({ ...have, contentSha256: [new Uint8Array(5)] }));
    assert.deepEqual(wrong.fields, ["have.content_sha256"]);
    // Replaced as a whole: its history has ended.
    const backup = await both.source.client.repo.backupCollection({ collection: source });
    const backupId = backup.backup?.backupId ?? "";
    await both.source.client.repo.restoreBackup({ backupId, overwrite: true });
    const anew = await both.pull(have);
    assert.equal(anew.metadata.incremental, false);
    await both.push(anew);
    await both.assertSame();
  });

  it("are not applied to a copy that was written to", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    const delta = await both.pull(have);
    await both.target.put(500, "copy");
    const described = await both.target.client.transfers.describeCopy({ collection: copyName });
    assert.deepEqual(
      [described.exists, described.sourceCollectionId, described.state],
      [true, "", undefined],
    );
    const before = await both.target.state("copy");
    const refusal = await refusalOf(both.push(delta, have));
    assert.deepEqual([refusal.code, refusal.reason], ["FailedPrecondition", "BASE_UNUSABLE"]);
    assert.deepEqual(await both.target.state("copy"), before);
    await both.push(await both.pull());
    await both.assertSame();
  });

  it("are not applied where they do not belong", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    await both.source.put(1);
    const delta = await both.pull(have);
    const wrongRevision = { ...have, revision: have.revision - 1n };
    assert.deepEqual((await refusalOf(both.push(delta, wrongRevision))).reason, "BASE_UNUSABLE");
    const wrongIncarnation = { ...have, incarnation: "another" };
    assert.equal((await refusalOf(both.push(delta, wrongIncarnation))).reason, "BASE_UNUSABLE");
    const asWhole = await refusalOf(both.push(delta));
    assert.equal(asWhole.reason, "BASE_UNUSABLE");
    const whole = await refusalOf(both.push(await both.pull(), have));
    assert.deepEqual([whole.code, whole.fields], ["InvalidArgument", ["base_revision"]]);
    const missing = await refusalOf(
      both.target.push(
        { destName: "gone", sourceCollection: source, ...baseOf(have) },
        delta.bytes,
      ),
    );
    assert.equal(missing.reason, "BASE_UNUSABLE");
    const unlike = await refusalOf(
      both.target.push({ destName: "copy", baseRevision: have.revision }, delta.bytes),
    );
    assert.deepEqual(unlike.fields, ["base_incarnation"]);
    await both.push(delta, have);
    await both.assertSame();
    const again = await refusalOf(both.push(delta, have));
    assert.equal(again.reason, "BASE_UNUSABLE");
  });

  it("do not replace a collection that is no copy", async () => {
    await using both = await Mirrored.open();
    const { client } = both.target;
    await client.createNotes("own");
    const { bytes } = await both.pull();
    const refusal = await refusalOf(
      both.target.push({ sourceCollection: source, destName: "own", refresh: true }, bytes),
    );
    assert.deepEqual([refusal.code, refusal.reason], ["AlreadyExists", "COLLECTION_EXISTS"]);
    const described = await client.transfers.describeCopy({ collection: { name: "own" } });
    assert.deepEqual([described.exists, described.state], [true, undefined]);
    const none = await client.transfers.describeCopy({ collection: { name: "none" } });
    assert.deepEqual([none.exists, none.state], [false, undefined]);
    const nameless = await refusalOf(client.transfers.describeCopy({}));
    assert.deepEqual([nameless.reason, nameless.fields], ["ARGUMENT_MISSING", ["collection"]]);
  });

  it("bring indexes along that were added or dropped since", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    const { client } = both.source;
    await client.records.modify({
      collectionName: "notes",
      indexedFields: ["author.born"],
    });
    await both.source.put(77);
    const delta = await both.pull(have);
    await both.push(delta, have);
    await both.assertSame();
    const { collection } = await both.target.client.repo.route({ collection: copyName });
    assert.deepEqual(collection?.indexedFields, ["author.born"]);
    const { indexes } = await both.target.client.records.describe({ collectionName: "copy" });
    assert.deepEqual(
      indexes.map(({ field }) => field),
      ["author.born"],
    );
  });

  it("give way to all of it where records are found in another way by now", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    const textSearch = { fields: [{ path: "title", weight: 2 }] };
    await both.source.client.records.modify({
      collectionName: "notes",
      updateMask: ["text_search"],
      textSearch,
    });
    await both.source.put(1);
    const delta = await both.pull(have);
    const refusal = await refusalOf(both.push(delta, have));
    assert.equal(refusal.reason, "BASE_UNUSABLE");
    await both.push(await both.pull());
    await both.assertSame();
  });

  it("have what was there derived anew if the type has changed since", async () => {
    await using both = await Mirrored.open();
    const have = await both.state();
    const file = clone(FileDescriptorProtoSchema, noteFile);
    const note = file.messageType.find(({ name }) => name === "Note");
    const like = note?.field.find(({ name }) => name === "title");
    assert.ok(note && like);
    note.field.push({ ...like, name: "subtitle", jsonName: "subtitle", number: 90 });
    await both.source.client.registry.registerProto({ fileDescriptor: file });
    await derivedAnew(both.source, "default/notes");
    await both.source.put(1);
    const delta = await both.pull(have);
    await both.push(delta, have);
    await both.assertSame();
    await derivedAnew(both.target, "default/copy");
    await both.assertSame();
  });
});
