import assert from "node:assert/strict";
import { open, rm, statfs } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { RetryInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { machineCan } from "../support/capabilities.ts";
import { checkDatabases } from "../support/data-folder.ts";
import { reasonOf } from "../support/found.ts";
import { mountTmpfs } from "../support/mounts.ts";
import { ServerProcess } from "../support/server-process.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";
import { type Tally, Workload } from "./workload.ts";

const megabyte = 1024 * 1024;

/** How soon writes must be refused on a full disk, and taken again once there is space, in ms. */
const reactionMsMax = 5_000;

it("refuses writes, reads and deletes on, and recovers by itself on a disk down to its reserve", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("tmpfs", t)) return;
  const resumedMs = await fillDiskUnder({ leaveBytes: 40 * megabyte, deletesGoOn: true });
  t.diagnostic(`writes resumed ${Math.round(resumedMs)} ms after space was freed`);
});

// Another program has eaten the reserve too: there may be no byte left to note a delete with.
it("refuses writes, reads on, and recovers by itself on a disk full to the last byte", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("tmpfs", t)) return;
  const resumedMs = await fillDiskUnder({ leaveBytes: 0, deletesGoOn: false });
  t.diagnostic(`writes resumed ${Math.round(resumedMs)} ms after space was freed`);
});

/** @returns how soon writes were taken again once there was space, in ms. */
async function fillDiskUnder(options: {
  readonly leaveBytes: number;
  readonly deletesGoOn: boolean;
}): Promise<number> {
  await using disk = await mountTmpfs(192);
  const dataFolder = join(disk.path, "data");
  const ballast = join(disk.path, "ballast");
  await using server = await ServerProcess.start({ dataFolder });
  using client = new TestClient(server.url);
  await client.registerNotes();
  await client.createNotes("notes", { indexedFields: ["price_cents"] });
  const load = new Workload({ collectionName: "notes", seed: 1, writers: 4 });
  await writeFor(load, client, 500);

  await fill(ballast, disk.path, options.leaveBytes);
  let refusals: readonly unknown[] = [];
  await waitUntil("every write is refused", reactionMsMax, async () => {
    const tally = await writeFor(load, client, 100);
    refusals = tally.refused;
    return refusals.length > 0 && tally.unanswered.length === 0;
  });
  for (const refusal of refusals) assertSaysDiskFull(refusal);

  const [id = "", spare = ""] = load.oracle.ids().filter((id) => !load.oracle.isOpen(id));
  const read = await client.records.get({ collectionName: "notes", id });
  assert.ok(read.item, "a full disk stops reads");
  assert.ok((await client.records.list({ collectionName: "notes" })).items.length > 0);
  const deletion = load.oracle.begin([[spare, undefined]]);
  try {
    await client.records.delete({ collectionName: "notes", id: spare });
    load.oracle.acknowledge(deletion, new Map());
  } catch (error) {
    if (options.deletesGoOn) throw error;
    assertSaysDiskFull(error);
    load.oracle.refuse(deletion);
  }

  await rm(ballast);
  const resumedMs = await waitUntil("writes resume", reactionMsMax, async () => {
    const tally = await writeFor(load, client, 100);
    return tally.done > 0 && tally.refused.length === 0 && tally.unanswered.length === 0;
  });
  assert.deepEqual(await load.check(client), []);
  await server.kill();

  await using again = await ServerProcess.start({ dataFolder });
  using checker = new TestClient(again.url);
  assert.deepEqual(await load.check(checker), []);
  assert.deepEqual(await load.checkSearch(checker, 10), []);
  await again.stop();
  assert.deepEqual((await checkDatabases(dataFolder)).wrong, []);
  return resumedMs;
}

function assertSaysDiskFull(refusal: unknown): void {
  const error = ConnectError.from(refusal);
  assert.equal(error.code, Code.ResourceExhausted, error.message);
  assert.equal(reasonOf(error), "DISK_FULL");
  assert.equal(error.findDetails(RetryInfoSchema).length, 1, "it does not say when to try again");
  assert.doesNotMatch(error.message, /SQL|\/tmp|ENOSPC/);
}

async function writeFor(load: Workload, client: TestClient, ms: number): Promise<Tally> {
  return await load.run(client, { signal: AbortSignal.timeout(ms), goOn: true });
}

/** Writes a file until only `leaveBytes` are free. */
async function fill(path: string, disk: string, leaveBytes: number): Promise<void> {
  await using file = await open(path, "w");
  const chunk = Buffer.alloc(megabyte, 1);
  for (;;) {
    const { bavail, bsize } = await statfs(disk);
    const spare = bavail * bsize - leaveBytes;
    if (spare <= 0) return;
    await file.write(chunk, 0, Math.min(chunk.length, spare));
  }
}
