import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { RequestOpSchema } from "../../src/gen/collector/collection_server_pb.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { noteItem, noteOf } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

/** `npm run test:faults` makes more. */
const kills = 3 * Number(process.env["COLLECTOR_COPY_KILLS"] ?? 1);
const seed = faultSeed();
const records = 3000;
const batch = 500;

it("a server that is killed while it reindexes finds every record, and ends the work", async (t) => {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using folder = await tempFolder("reindex-kills");
  let server = await ServerProcess.start({ dataFolder: folder.path });
  let client = new TestClient(server.url);
  try {
    await client.registerNotes();
    await client.createNotes("notes", { indexedFields: ["price_cents", "author.born"] });
    for (let from = 0; from < records; from += batch) await put(client, from, batch);
    const startMs = performance.now();
    await client.admin.reindexCollection({ collection: { name: "notes" } });
    const tookMs = performance.now() - startMs;
    let written = records;
    const phases = new Set<string>();
    for (let kill = 0; kill < kills; kill += 1) {
      const begun = await client.admin.reindexCollection({
        collection: { name: "notes" },
        returnImmediately: true,
      });
      const name = begun.operation?.name ?? "";
      await put(client, written, 20);
      written += 20;
      await sleep(random.below(tookMs * 0.8));
      phases.add((await client.operations.getOperation({ name })).phase);
      await server.kill();
      client[Symbol.dispose]();
      server = await ServerProcess.start({ dataFolder: folder.path });
      client = new TestClient(server.url);
      await checkAll(client, written, random);
      const timeout = durationFromMs(60_000);
      const ended = await client.operations.waitOperation({ name, timeout });
      assert.equal(ended.result.case, "response");
      await checkAll(client, written, random);
      const { indexes } = await client.records.describe({ collectionName: "notes" });
      assert.deepEqual(indexes.map(({ field }) => field).sort(), ["author.born", "price_cents"]);
    }
    t.diagnostic(`${kills} kills while: ${[...phases].join(", ")}`);
  } finally {
    await server.kill();
    client[Symbol.dispose]();
  }
});

async function put(client: TestClient, from: number, count: number): Promise<void> {
  const operations = Array.from({ length: count }, (_, index) =>
    create(RequestOpSchema, {
      operation: { case: "create", value: { id: `${from + index}`, item: noteItem(from + index) } },
    }),
  );
  await client.records.batch({ collectionName: "notes", operations });
}

/** Looks for some of the records by each of the indexes, and counts what the indexes hold. */
async function checkAll(client: TestClient, written: number, random: Random): Promise<void> {
  const collectionName = "notes";
  for (const number of [
    0,
    written - 1,
    ...Array.from({ length: 20 }, () => random.below(written)),
  ]) {
    const { priceCents } = noteOf(number);
    const where = `price_cents = ${priceCents}`;
    const { metas } = await client.records.list({ collectionName, where });
    assert.ok(
      metas.some(({ id }) => id === `${number}`),
      where,
    );
    const { results } = await client.records.search({ collectionName, fullText: `n${number}` });
    assert.deepEqual(
      results.map(({ meta }) => meta?.id),
      [`${number}`],
    );
  }
  const counted = await client.records.list({
    collectionName,
    where: "author.born >= 0",
    pageSize: 1,
  });
  assert.equal(counted.totalCount, BigInt(written));
}
