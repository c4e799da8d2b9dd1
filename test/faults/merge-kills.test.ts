import assert from "node:assert/strict";
import { cp, glob, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { RequestOpSchema } from "../../src/gen/collector/collection_server_pb.ts";
import { type TextLevel, textLevelsReader } from "../../src/storage/sqlite/text-levels.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { noteItem } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

/** `npm run test:faults` makes more. */
const kills = Number(process.env["COLLECTOR_COPY_KILLS"] ?? 1);
const seed = faultSeed();

/** More than what makes a text index a large one, which is put in order in quiet moments. */
const records = 110_000;
const batch = 500;
const collectionName = "notes";

/** After a write, when a store counts as quiet. */
const quietMs = 500;
const lookMs = 20;
const tidyWithinMs = 60_000;

it("a server that is killed while it puts a text index in order finds every record, and ends it", async (t) => {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using folder = await tempFolder("merge-kills");
  const untidy = join(folder.path, "untidy");
  const killed = join(folder.path, "killed");
  await fill(untidy);
  const tookMs = await timeToTidy(untidy, killed);
  let during = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    await cp(untidy, killed, { recursive: true });
    const path = await storePath(killed);
    await using server = await startAndWrite(killed, records);
    const before = levelsOf(path);
    await sleep(quietMs + random.below(tookMs));
    await server.kill();
    if (hasChanged(before, levelsOf(path)) && segmentsOf(levelsOf(path)) > 1) during += 1;
    checkStore(path);
    await using again = await startAndWrite(killed, records + 1);
    await tidied(path);
    using client = new TestClient(again.url);
    await checkSearch(client, random);
    await again.kill();
    checkStore(path);
    await rm(killed, { recursive: true });
  }
  t.diagnostic(`${during} of ${kills} kills after some and before all of it`);
});

/** Leaves a server's folder with segments that are still to be merged. */
async function fill(folder: string): Promise<void> {
  await using server = await ServerProcess.start({ dataFolder: folder });
  using client = new TestClient(server.url, { timeoutMs: 60_000 });
  await client.registerNotes();
  await client.createNotes(collectionName);
  for (let from = 0; from < records; from += batch) await put(client, from, batch);
  // Before it has been quiet for long.
  await server.kill();
  assert.ok(segmentsOf(levelsOf(await storePath(folder))) > 1);
}

/** How long a copy of the folder takes until it is in order, in ms; it is removed again. */
async function timeToTidy(folder: string, copy: string): Promise<number> {
  await cp(folder, copy, { recursive: true });
  await using server = await startAndWrite(copy, records);
  await sleep(quietMs);
  const startMs = performance.now();
  await tidied(await storePath(copy));
  const tookMs = performance.now() - startMs;
  await server.kill();
  await rm(copy, { recursive: true });
  return tookMs;
}

/** A write, without which nobody looks at a store. */
async function startAndWrite(folder: string, number: number): Promise<ServerProcess> {
  const server = await ServerProcess.start({ dataFolder: folder });
  using client = new TestClient(server.url);
  await put(client, number, 1);
  return server;
}

async function put(client: TestClient, from: number, count: number): Promise<void> {
  const operations = Array.from({ length: count }, (_, index) =>
    create(RequestOpSchema, {
      operation: { case: "create", value: { id: `${from + index}`, item: noteItem(from + index) } },
    }),
  );
  await client.records.batch({ collectionName, operations });
}

/** Waits until all of the index, or all but what was written last, is one segment. */
async function tidied(path: string): Promise<void> {
  const endMs = performance.now() + tidyWithinMs;
  while (Math.max(...levelsOf(path).map(({ largest }) => largest)) < records * 0.9) {
    assert.ok(performance.now() < endMs, `still ${JSON.stringify(levelsOf(path))}`);
    await sleep(lookMs);
  }
}

function levelsOf(path: string): readonly TextLevel[] {
  using db = new DatabaseSync(path, { readOnly: true, readBigInts: true });
  return textLevelsReader(db, 1n)();
}

function segmentsOf(levels: readonly TextLevel[]): number {
  return levels.reduce((sum, { segments }) => sum + segments, 0);
}

function hasChanged(before: readonly TextLevel[], after: readonly TextLevel[]): boolean {
  return JSON.stringify(before) !== JSON.stringify(after);
}

/** By SQLite's own checks, of the tables and of the text index. */
function checkStore(path: string): void {
  using db = new DatabaseSync(path, { readBigInts: true });
  assert.equal(db.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
  db.exec("INSERT INTO text_1 (text_1, rank) VALUES ('integrity-check', 0)");
}

async function checkSearch(client: TestClient, random: Random): Promise<void> {
  const some = Array.from({ length: 20 }, () => random.below(records));
  for (const number of [0, records, records + 1, ...some]) {
    const { results } = await client.records.search({ collectionName, fullText: `n${number}` });
    assert.deepEqual(
      results.map(({ meta }) => meta?.id),
      [`${number}`],
    );
  }
}

/** The one store that has more than a server's own. */
async function storePath(folder: string): Promise<string> {
  const sizes: { readonly path: string; readonly bytes: number }[] = [];
  for await (const name of glob("**/data.sqlite", { cwd: folder })) {
    const path = join(folder, name);
    sizes.push({ path, bytes: (await stat(path)).size });
  }
  const [largest] = sizes.toSorted((one, other) => other.bytes - one.bytes);
  assert.ok(largest !== undefined);
  return largest.path;
}
