import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { timestampMs } from "@bufbuild/protobuf/wkt";
import { TextSearch_Tokenizer } from "../../src/gen/collector/collection_pb.ts";
import {
  IndexInfo_State,
  type ModifyRequestSchema,
  RequestOpSchema,
} from "../../src/gen/collector/collection_server_pb.ts";
import { createCollector } from "../../src/server.ts";
import { noteItem } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const records = 2000;
/** Backups, and as many clones, that are made while each change is made. */
const copiesPerChange = 2;
/** What lies between their beginnings, in ms. */
const staggerMs = 150;

type Change = Omit<MessageInitShape<typeof ModifyRequestSchema>, "$typeName">;

/** Each is done to what the one before has left. */
const changes: Readonly<Record<string, Change>> = {
  "an index is built": { indexedFields: ["price_cents", "author.born", "author.name"] },
  "an index is dropped": { indexedFields: ["author.born"], updateMask: ["indexed_fields"] },
  "other text is searched": {
    textSearch: { fields: [{ path: "title", weight: 2 }], tokenizer: TextSearch_Tokenizer.ENGLISH },
    updateMask: ["text_search"],
  },
  "an expiry is set": {
    expiry: { when: { case: "timeToLive", value: { seconds: 3600n } } },
    updateMask: ["expiry"],
  },
};

describe("copies of a collection that is being altered", () => {
  it("are whole: what they say is indexed is indexed, and every record is found", async (t) => {
    await using folder = await tempFolder("backup-alteration");
    await using collector = await createCollector({
      data: folder.path,
      port: 0,
      logLevel: "silent",
    });
    using client = new TestClient(collector.url, { timeoutMs: 60_000 });
    await fill(client);
    let whileAltered = 0;
    for (const [name, change] of Object.entries(changes)) {
      const at = Object.keys(changes).indexOf(name);
      const copies = Array.from({ length: copiesPerChange }, async (_, copy) => {
        await sleep(copy * staggerMs);
        const clone = `${at}-clone-${copy}`;
        const [{ backup }] = await Promise.all([
          client.repo.backupCollection({ collection: { name: "notes" } }),
          client.repo.clone({ sourceCollection: { name: "notes" }, destName: clone }),
        ]);
        return { backup, clone };
      });
      await sleep(staggerMs);
      const { operation } = await client.records.modify({ collectionName: "notes", ...change });
      for (const { backup, clone } of await Promise.all(copies)) {
        const { backupId = "", createTime } = backup ?? {};
        const [began = 0, moment = 0, ended = 0] = [
          operation?.createdAt,
          createTime,
          operation?.updatedAt,
        ].map((time) => (time === undefined ? 0 : timestampMs(time)));
        if (began <= moment && moment <= ended) whileAltered += 1;
        await client.repo.restoreBackup({ backupId, destName: "restored", overwrite: true });
        await check(client, "restored", name);
        await check(client, clone, name);
      }
    }
    t.diagnostic(`${whileAltered} backups were made while something was altered`);
  });
});

async function check(client: TestClient, collectionName: string, what: string): Promise<void> {
  await settled(client, `default/${collectionName}`);
  const { indexes, recordCount, collectionDefinition } = await client.records.describe({
    collectionName,
  });
  assert.equal(recordCount, BigInt(records), what);
  assert.deepEqual(
    indexes.map(({ field }) => field).sort(),
    collectionDefinition?.indexedFields.toSorted(),
    what,
  );
  assert.ok(
    indexes.every(({ state }) => state === IndexInfo_State.READY),
    what,
  );
  for (const number of [0, 1234, records - 1]) {
    const { results } = await client.records.search({ collectionName, fullText: `n${number}` });
    assert.deepEqual(
      results.map(({ meta }) => meta?.id),
      [`n${number}`],
      `${what}: n${number}`,
    );
  }
  await client.records.update({ collectionName, id: "n1", item: noteItem(1) });
}

/** What goes on behind has ended. */
async function settled(client: TestClient, subject: string): Promise<void> {
  const { operations } = await client.operations.listOperations({ pageSize: 1000 });
  for (const { name, done, subject: of } of operations) {
    if (!done && of === subject) await client.operations.waitOperation({ name });
  }
}

async function fill(client: TestClient): Promise<void> {
  await client.registerNotes();
  await client.createNotes("notes", { indexedFields: ["price_cents"] });
  for (let first = 0; first < records; first += 1000) {
    const operations = Array.from({ length: 1000 }, (_, index) => {
      const value = { id: `n${first + index}`, item: noteItem(first + index) };
      return create(RequestOpSchema, { operation: { case: "create", value } });
    });
    await client.records.batch({ collectionName: "notes", operations });
  }
}
