import assert from "node:assert/strict";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { WriteStep } from "../../record-store.ts";
import { contentOf, createStep, people, peopleLayout } from "../../testing/engine-harness.ts";
import { openSqliteHarness } from "../../testing/sqlite-harness.ts";
import { openForReading } from "../connection.ts";
import type { StoreWriter } from "../writer/store-writer.ts";
import { openWriter, runGroup } from "../writer/testing/writer-harness.ts";
import { WriteBack } from "./write-back.ts";

/** Content of a record that takes some 250 pages. */
const data = new Uint8Array(1_000_000);

function bigStep(id: string): WriteStep {
  return { kind: "create", id, content: { ...contentOf({}), data }, labels: {} };
}

let nextId = 0;

/** Writes until the log is to be written back; the disk is asked for some five million bytes. */
function writeUntilAsked(store: StoreWriter): void {
  for (let write = 0; write < 6; write += 1) {
    runGroup(store, [[bigStep(`${nextId++}`)]]);
    if (store.tidy() === "ask") return;
  }
  assert.fail("the log was not to be written back");
}

/** Pages in the log, and those of them that are in the database. */
function logOf(store: StoreWriter): readonly [log: number, done: number] {
  const row = store.db.prepare("PRAGMA wal_checkpoint(NOOP)").get();
  return [Number(row?.["log"]), Number(row?.["checkpointed"])];
}

function start(): WriteBack & AsyncDisposable {
  const writeBack = new WriteBack();
  return Object.assign(writeBack, { [Symbol.asyncDispose]: () => writeBack.close() });
}

describe("a log that has grown long", () => {
  it("is written back beside the writer, which does the rest, and starts over", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    const { store, path } = opened;
    writeUntilAsked(store);
    // Asked once, not after every group.
    assert.equal(store.tidy(), "nothing");
    await writeBack.run(path);
    const [log, done] = logOf(store);
    assert.ok(log > 1000);
    assert.equal(done, log);
    runGroup(store, [[createStep("small")]]);
    assert.ok(logOf(store)[0] < log);
    store.noteWrittenBack(true);
    store.tidy();
    assert.equal(store.db.prepare("PRAGMA integrity_check").get()?.["integrity_check"], "ok");
  });

  it("has what came meanwhile written back by the writer", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    const { store, path } = opened;
    writeUntilAsked(store);
    // Up to here and no further, as if the next write had come while the log is gone through.
    const reader = openForReading(path);
    reader.exec("BEGIN; SELECT * FROM meta");
    runGroup(store, [[createStep("small")]]);
    await writeBack.run(path);
    reader.close();
    store.noteWrittenBack(true);
    assert.equal(store.tidy(), "did");
    const [log, done] = logOf(store);
    assert.equal(done, log);
  });

  it("is written back beside the writer again, not by it, if much has come meanwhile", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    const { store, path } = opened;
    writeUntilAsked(store);
    for (let n = 0; logOf(store)[0] < 17_000; n += 1) runGroup(store, [[bigStep(`before${n}`)]]);
    const reader = openForReading(path);
    reader.exec("BEGIN; SELECT * FROM meta");
    const [before] = logOf(store);
    for (let n = 0; logOf(store)[0] < before + 1010; n += 1) {
      runGroup(store, [[createStep(`meanwhile${n}`)]]);
    }
    await writeBack.run(path);
    reader.close();
    store.noteWrittenBack(true);
    const [log, done] = logOf(store);
    // Little for so long a log, and yet more than writes should wait for.
    assert.ok(log - done < log / 16, `${done} of ${log} pages`);
    assert.equal(store.tidy(), "ask");
    assert.deepEqual(logOf(store), [log, done]);
  });

  it("is not asked for again and again while a reader is in the way", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    const { store, path } = opened;
    const reader = openForReading(path);
    reader.exec("BEGIN; SELECT * FROM meta");
    try {
      writeUntilAsked(store);
      await writeBack.run(path);
      store.noteWrittenBack(true);
      assert.equal(store.tidy(), "nothing");
      runGroup(store, [[bigStep("more")]]);
      assert.equal(store.tidy(), "nothing");
      writeUntilAsked(store);
    } finally {
      reader.close();
    }
  });

  it("is written back by the writer if nobody else can", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    writeUntilAsked(store);
    store.noteWrittenBack(false);
    assert.equal(store.tidy(), "did");
    const [log, done] = logOf(store);
    assert.equal(done, log);
  });

  it("of a running engine is in the database though nothing is closed", async () => {
    await using harness = await openSqliteHarness();
    await harness.engine.create(people, peopleLayout);
    const store = harness.engine.store(people);
    const count = 12;
    for (let id = 0; id < count; id += 1) await store.write({ steps: [bigStep(`${id}`)] });
    const path = join(harness.dataFolder, "stores", "people", "1", "data.sqlite");
    // The first four at the least, whenever the process comes to them.
    while ((await stat(path)).size < 4 * data.length) await sleep(10);
    const records = await store.get(Array.from({ length: count }, (_, id) => `${id}`));
    assert.ok(records.every((record) => record?.data.length === data.length));
  });
});

describe("WriteBack", () => {
  it("says what fails, and goes on with what comes after", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    await assert.rejects(writeBack.run(join(opened.path, "..", "none")), {
      reason: "STORAGE_UNAVAILABLE",
    });
    await writeBack.run(opened.path);
  });

  it("fails what was asked for when its process dies, and starts another", async () => {
    await using opened = await openWriter();
    await using writeBack = start();
    const cut = writeBack.run(opened.path);
    process.kill(writeBack.pid ?? Number.NaN, "SIGKILL");
    await assert.rejects(cut, { reason: "STORAGE_UNAVAILABLE" });
    await writeBack.run(opened.path);
  });
});
