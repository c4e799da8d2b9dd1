import assert from "node:assert/strict";
import { it } from "node:test";
import { ConnectError } from "@connectrpc/connect";
import { machineCan } from "../support/capabilities.ts";
import { checkDatabases } from "../support/data-folder.ts";
import { failCalls } from "../support/failing-calls.ts";
import { reasonOf } from "../support/found.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";
import { Workload } from "./workload.ts";

/** Every call that storage makes, failed as a disk, a full disk or a used-up limit fails it. */
const faults = [
  { calls: "fsync,fdatasync", error: "EIO", when: "1" },
  { calls: "fsync,fdatasync", error: "EIO", when: "2+3" },
  { calls: "pwrite64", error: "EIO", when: "1" },
  { calls: "pwrite64", error: "EIO", when: "7+11" },
  { calls: "pwrite64", error: "ENOSPC", when: "1" },
  { calls: "pwrite64", error: "ENOSPC", when: "5+9" },
  { calls: "pread64", error: "EIO", when: "1" },
  { calls: "openat", error: "EMFILE", when: "1+" },
  { calls: "ftruncate,fallocate", error: "ENOSPC", when: "1" },
  { calls: "fcntl", error: "ENOLCK", when: "1" },
] as const;

/** How soon writes must be taken again once calls work, in ms. */
const recoveryMsMax = 10_000;

for (const fault of faults) {
  const { calls, error, when } = fault;
  it(`survives ${error} from ${calls} (${when})`, { timeout: 90_000 }, async (t) => {
    if (!machineCan("strace", t)) return;
    await using folder = await tempFolder("failed-calls");
    const dataFolder = folder.path;
    await using server = await ServerProcess.start({ dataFolder });
    using client = new TestClient(server.url);
    await client.registerNotes();
    await client.createNotes("notes", { indexedFields: ["price_cents"] });
    const load = new Workload({ collectionName: "notes", seed: 7, writers: 4 });
    const writeFor = (ms: number) =>
      load.run(client, { signal: AbortSignal.timeout(ms), goOn: true, pauseMs: 20 });
    await writeFor(300);

    const failures = new Set<string>();
    {
      await using failing = await failCalls({ pid: server.pid, ...fault });
      const tally = await writeFor(1_500);
      // A new collection opens files, and makes and syncs folders.
      const created = client.createNotes("more").catch((failure: unknown) => [failure]);
      const answers = [...tally.refused, ...tally.unanswered].concat(
        [await created].flatMap((answer) => (Array.isArray(answer) ? answer : [])),
      );
      for (const answer of answers) {
        const { message } = ConnectError.from(answer);
        failures.add(reasonOf(answer) ?? message);
        assert.ok(reasonOf(answer), `the server did not answer: ${message}`);
        assert.doesNotMatch(message, /SQLITE|\/tmp|EIO|ENOSPC|EMFILE|\bat /);
      }
      t.diagnostic(`${await failing.failed()} calls failed, ${tally.done} writes done meanwhile`);
      if (calls !== "ftruncate,fallocate" && calls !== "openat") {
        assert.ok((await failing.failed()) > 0, "no call failed: the test is blind");
      }
    }
    t.diagnostic(`callers were told: ${[...failures].join(", ") || "nothing"}`);
    assert.ok(server.running, `the server ended\n${server.log}`);

    const recoveredMs = await waitUntil("writes resume", recoveryMsMax, async () => {
      const tally = await writeFor(100);
      return tally.done > 0 && tally.refused.length + tally.unanswered.length === 0;
    });
    t.diagnostic(`writes resumed after ${Math.round(recoveredMs)} ms`);
    assert.deepEqual(await load.check(client), []);
    await writeFor(200);
    await server.kill();

    await using again = await ServerProcess.start({ dataFolder });
    using checker = new TestClient(again.url);
    assert.deepEqual(await load.check(checker), []);
    assert.deepEqual(await load.checkSearch(checker, 10), []);
    assert.deepEqual(await again.stop(), { code: 0, signal: null });
    assert.deepEqual((await checkDatabases(dataFolder)).wrong, []);
  });
}
