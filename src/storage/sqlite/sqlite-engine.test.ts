import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, readdir, readlink, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import { createStep, people, peopleLayout } from "../testing/engine-harness.ts";
import { openSqliteHarness } from "../testing/sqlite-harness.ts";

const other = { storeId: "other", generation: 1n };

describe("SqliteEngine", () => {
  it("sweeps what a crash has left of stores being made or removed", async () => {
    await using harness = await openSqliteHarness();
    const stores = join(harness.dataFolder, "stores");
    await harness.engine.create(people, peopleLayout);
    await mkdir(join(stores, ".new-1"));
    await writeFile(join(stores, ".new-1", "data.sqlite"), "half");
    await harness.reopen();
    assert.deepEqual(await readdir(stores), ["people"]);
  });

  it("fails for a damaged store, and for it alone", async () => {
    await using harness = await openSqliteHarness();
    const stores = join(harness.dataFolder, "stores");
    await harness.engine.create(people, peopleLayout);
    await harness.engine.create(other, peopleLayout);
    await harness.engine.store(other).write({ steps: [createStep("a")] });
    await harness.engine.close();
    await writeFile(join(stores, "people", "1", "data.sqlite"), Buffer.alloc(8192, 7));
    await harness.reopen();
    const damaged = harness.engine.store(people);
    const corrupt = (error: unknown): boolean => {
      assert(error instanceof Error);
      assert.deepEqual("reason" in error && error.reason, "STORAGE_CORRUPT");
      assert.doesNotMatch(error.message, /sqlite|SELECT|\//i);
      return true;
    };
    await assert.rejects(damaged.get(["a"]), corrupt);
    await assert.rejects(damaged.list({ limit: 1 }), corrupt);
    await assert.rejects(damaged.write({ steps: [createStep("a")] }), corrupt);
    await assert.rejects(damaged.stats(), corrupt);
    const [record] = await harness.engine.store(other).get(["a"]);
    assert.equal(record?.version, 1n);
  });

  it("says that a store is missing whose file is gone, and makes none", async () => {
    await using harness = await openSqliteHarness();
    await harness.engine.create(people, peopleLayout);
    const file = join(harness.dataFolder, "stores", "people", "1", "data.sqlite");
    await rm(file);
    const store = harness.engine.store(people);
    await assert.rejects(store.get(["a"]), { reason: "STORAGE_CORRUPT" });
    await assert.rejects(store.write({ steps: [createStep("a")] }));
    assert.equal(existsSync(file), false);
  });

  it("refuses a store of a newer server to reads and writes alike", async () => {
    await using harness = await openSqliteHarness();
    await harness.engine.create(people, peopleLayout);
    const file = join(harness.dataFolder, "stores", "people", "1", "data.sqlite");
    const db = new DatabaseSync(file);
    db.exec("PRAGMA user_version = 99");
    db.close();
    const store = harness.engine.store(people);
    const newer = { reason: "STORAGE_UNAVAILABLE", message: /start a newer server/ };
    await assert.rejects(store.get(["a"]), newer);
    await assert.rejects(store.list({ limit: 1 }), newer);
    await assert.rejects(store.write({ steps: [createStep("a")] }), newer);
  });

  it("removes the rest of a dropped index after a restart", async () => {
    await using harness = await openSqliteHarness();
    await harness.engine.create(people, peopleLayout);
    const steps = Array.from({ length: 1000 }, (_, age) => createStep(`${age}`, { age }));
    await harness.engine.store(people).write({ steps });
    const file = join(harness.dataFolder, "stores", "people", "1", "data.sqlite");
    await harness.engine.close();
    const db = new DatabaseSync(file);
    db.exec("UPDATE field_index SET state = 'dropping', path = NULL");
    await harness.reopen();
    const store = harness.engine.store(people);
    await store.write({ steps: [createStep("one more")] });
    const left = db.prepare("SELECT count(*) AS count FROM field_index");
    while (left.get()?.["count"] !== 0) await store.stats();
    db.close();
    assert.deepEqual((await store.stats()).indexes, []);
  });

  it("opens more stores than it may keep open, and closes them again", async () => {
    await using harness = await openSqliteHarness({ limits: { openStoresMax: 3 } });
    const locations = Array.from({ length: 20 }, (_, at) => ({
      storeId: `s-${at}`,
      generation: 1n,
    }));
    for (const location of locations) {
      await harness.engine.create(location, peopleLayout);
      await harness.engine.store(location).write({ steps: [createStep("a")] });
      await harness.engine.store(location).get(["a"]);
    }
    if (process.platform !== "linux") return;
    const open = new Set<string>();
    for (const name of await readdir("/proc/self/fd")) {
      const target = await readlink(join("/proc/self/fd", name)).catch(() => "");
      if (target.startsWith(harness.dataFolder) && target.endsWith("data.sqlite")) open.add(target);
    }
    // The event loop's three, and as many of each writer thread as fit into its share.
    assert(open.size <= 3 + 2, `${open.size} stores are open`);
  });
});
