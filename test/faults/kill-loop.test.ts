import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { checkDatabases } from "../support/data-folder.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { Random } from "../support/random.ts";
import { childrenOf, isRunning, ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";
import { CatalogWorkload } from "./catalog-workload.ts";
import { Workload } from "./workload.ts";

const kills = Number(process.env["COLLECTOR_KILLS"] ?? 25);
const seed = faultSeed();

/** A kill, the start and the check after it take about this long at most, in ms. */
const roundMsMax = 8_000;

it(`loses nothing acknowledged in ${kills} kills at random moments`, {
  timeout: kills * roundMsMax + 60_000,
}, async (t) => {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using folder = await tempFolder("kill-loop");
  const start = () => ServerProcess.start({ dataFolder: folder.path });
  const workloads = [
    new Workload({ collectionName: "busy", seed: seed + 1, writers: 6 }),
    new Workload({ collectionName: "calm", seed: seed + 2, writers: 2 }),
  ];
  const catalog = new CatalogWorkload();
  const orphans = new Set<number>();

  let server = await start();
  try {
    using first = new TestClient(server.url);
    await first.registerNotes();
    for (const { collectionName } of workloads) {
      await first.createNotes(collectionName, { indexedFields: ["price_cents", "author.name"] });
    }

    for (let kill = 1; kill <= kills; kill += 1) {
      using client = new TestClient(server.url);
      const writing = new AbortController();
      const { signal } = writing;
      const running = [...workloads, catalog].map((load) => load.run(client, { signal }));
      await sleep(random.between(20, 500));
      for (const child of await childrenOf(server.pid)) orphans.add(child);
      await server.kill();
      writing.abort();
      for (const tally of await Promise.all(running)) {
        assert.deepEqual(tally.refused, [], "a server that is killed refuses nothing before");
      }

      // Some die before they are ready: recovery has to bear that too.
      if (random.below(5) === 0) {
        const unready = new ServerProcess({ dataFolder: folder.path });
        await sleep(random.between(50, 700));
        await unready.kill();
      }

      server = await start();
      using checker = new TestClient(server.url);
      for (const load of [...workloads, catalog]) {
        assert.deepEqual(
          await load.check(checker),
          [],
          `after kill ${kill}, COLLECTOR_SEED=${seed}`,
        );
      }
    }

    using last = new TestClient(server.url);
    for (const load of workloads) assert.deepEqual(await load.checkSearch(last, 20), []);
    assert.deepEqual(await server.stop(), { code: 0, signal: null });
  } finally {
    await server.kill();
  }

  const { checked, wrong } = await checkDatabases(folder.path);
  assert.deepEqual(wrong, []);
  assert.ok(checked >= workloads.length, `only ${checked} databases were found`);
  await waitUntil("processes of killed servers end", 5_000, async () => {
    const running = await Promise.all([...orphans].map(isRunning));
    return !running.includes(true);
  });
  for (const { collectionName, oracle } of workloads) {
    t.diagnostic(
      `${collectionName}: ${oracle.acknowledged} writes acknowledged, ` +
        `${oracle.resolved} done without an answer, 0 lost`,
    );
    assert.ok(oracle.acknowledged > kills, "the writers hardly wrote");
  }
});
