import assert from "node:assert/strict";
import { it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Durability } from "../../src/gen/collector/collection_pb.ts";
import { machineCan } from "../support/capabilities.ts";
import { checkDatabases } from "../support/data-folder.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { mountPowerCutDisk } from "../support/mounts.ts";
import { ServerProcess } from "../support/server-process.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";
import { Workload } from "./workload.ts";

const cuts = Number(process.env["COLLECTOR_POWER_CUTS"] ?? 3);
const seed = faultSeed();

it(`loses nothing acknowledged in ${cuts} power cuts`, { timeout: 180_000 }, async (t) => {
  if (!machineCan("loop-mount", t)) return;
  const lost = await cutPowerUnder(t, { durability: Durability.FULL, cuts });
  assert.deepEqual(lost, []);
});

it("loses acknowledged writes of a relaxed collection, so the test is not blind", {
  timeout: 120_000,
}, async (t) => {
  if (!machineCan("loop-mount", t)) return;
  const lost = await cutPowerUnder(t, { durability: Durability.RELAXED, cuts: 3 });
  assert.ok(lost.length > 0, "a power cut lost nothing, although nothing was forced to the disk");
  t.diagnostic(`${lost.length} records lost, as they may be`);
});

/** @returns what is wrong with the records after the cuts, one line each. */
async function cutPowerUnder(
  t: TestContext,
  options: { readonly durability: Durability; readonly cuts: number },
): Promise<readonly string[]> {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const wrong: string[] = [];
  await using disk = await mountPowerCutDisk(384);
  const dataFolder = `${disk.path}/data`;
  const load = new Workload({ collectionName: "notes", seed, writers: 8 });

  let server = await ServerProcess.start({ dataFolder });
  try {
    using first = new TestClient(server.url);
    await first.registerNotes();
    const { durability } = options;
    await first.createNotes("notes", { indexedFields: ["price_cents"], durability });

    for (let cut = 1; cut <= options.cuts; cut += 1) {
      using client = new TestClient(server.url);
      const writing = new AbortController();
      const running = load.run(client, { signal: writing.signal, goOn: true });
      await sleep(1_000);
      await waitUntil("the writers have written", 30_000, () => {
        return load.oracle.acknowledged > 100 * cut;
      });
      disk.cutPower();
      // What the server acknowledges after this would be a lie, and count as lost.
      await sleep(200);
      await server.kill();
      writing.abort();
      await running;
      await disk.remount();
      server = await ServerProcess.start({ dataFolder });
      using checker = new TestClient(server.url);
      wrong.push(...(await load.check(checker)));
    }
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  } finally {
    await server.kill();
  }

  const databases = await checkDatabases(dataFolder);
  assert.deepEqual(databases.wrong, []);
  assert.ok(databases.checked > 0, "no database was found");
  return wrong;
}
