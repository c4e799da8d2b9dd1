import assert from "node:assert/strict";
import { copyFile, link, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import fc from "fast-check";
import { contentPath } from "../../../lib/content-list.ts";
import type { RecordStore, StorageEngine } from "../../record-store.ts";
import type { CopyExpectation, StoreIntake, StoreSnapshot } from "../../store-copies.ts";
import { putFile, readText } from "../../testing/copied-stores.ts";
import { contentOf, people, peopleLayout } from "../../testing/engine-harness.ts";
import { openSqliteHarness } from "../../testing/sqlite-harness.ts";

const copied = { storeId: "copied", generation: 1n };

interface Folder extends AsyncDisposable {
  readonly path: string;
}

async function folder(): Promise<Folder> {
  const path = await mkdtemp(join(tmpdir(), "collector-copies-"));
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

async function filled(engine: StorageEngine, count: number): Promise<RecordStore> {
  await engine.create(people, peopleLayout);
  const store = engine.store(people);
  const steps = Array.from({ length: count }, (_, age) => ({
    kind: "create" as const,
    id: `p${age}`,
    content: contentOf({ name: `Ada n${age}`, age }),
    labels: { age: String(age) },
  }));
  await store.write({ steps });
  return store;
}

function expectationOf(snapshot: StoreSnapshot): CopyExpectation {
  const { format, revision, incarnation, recordCount, files, contents } = snapshot;
  return {
    format,
    revision,
    incarnation,
    recordCount,
    files,
    layout: peopleLayout,
    contents: contents.list,
  };
}

async function bring(intake: StoreIntake, snapshot: StoreSnapshot): Promise<void> {
  const { list, folder } = snapshot.contents;
  for (const { sha256 } of list) {
    const path = contentPath(intake.contentsFolder, sha256);
    await mkdir(dirname(path), { recursive: true });
    await link(contentPath(folder, sha256), path);
  }
}

/** What can be found in a store. */
async function stateOf(store: RecordStore): Promise<unknown> {
  const { records } = await store.list({ limit: 1000 });
  const { revision, recordCount, indexes, durability } = await store.stats();
  return { records, revision, recordCount, indexes, durability };
}

describe("copies", () => {
  it("make a store that equals the one they are of", async () => {
    await using harness = await openSqliteHarness();
    const { engine } = harness;
    const store = await filled(engine, 50);
    await putFile(store, "p1", "photo", "a photo");
    await store.write({ steps: [{ kind: "delete", id: "p7" }] });
    await using intake = await engine.intake();
    await using snapshot = await store.snapshot({ path: intake.dataPath, files: true });
    assert.deepEqual([snapshot.recordCount, snapshot.files], [49n, { count: 1n, bytes: 7n }]);
    await bring(intake, snapshot);
    assert.deepEqual(await intake.check(expectationOf(snapshot), undefined), []);
    await intake.complete(copied);
    await harness.reopen();
    const [one, other] = [harness.engine.store(people), harness.engine.store(copied)];
    assert.deepEqual(await stateOf(other), await stateOf(one));
    const file = await other.files.stat("p1", "photo");
    assert.ok(file);
    assert.equal(await readText(other, file), "a photo");
    assert.notEqual((await other.stats()).incarnation, (await one.stats()).incarnation);
    assert.deepEqual((await other.changes(0n, 100)).changes, (await one.changes(0n, 100)).changes);
  });

  it("are of one moment while records are written", async () => {
    await using harness = await openSqliteHarness();
    const store = await filled(harness.engine, 200);
    const over = new AbortController();
    const writing = (async () => {
      // All records change together: a copy with some of them is of no moment.
      for (let round = 0; !over.signal.aborted; round += 1) {
        const steps = Array.from({ length: 200 }, (_, age) => ({
          kind: "update" as const,
          id: `p${age}`,
          content: contentOf({ name: `round ${round}`, age }),
          labels: undefined,
        }));
        await store.write({ steps });
      }
    })();
    for (let copy = 0; copy < 3; copy += 1) {
      await using intake = await harness.engine.intake();
      await using snapshot = await store.snapshot({ path: intake.dataPath, files: false });
      assert.deepEqual(await intake.check(expectationOf(snapshot), undefined), []);
      const location = { storeId: `copy-${copy}`, generation: 1n };
      await intake.complete(location);
      const { records } = await harness.engine.store(location).list({ limit: 1000 });
      const names = new Set(records.map(({ data }) => Buffer.from(data).toString().split(",")[0]));
      // Before the first round each record has a name of its own.
      assert.ok(names.size === 1 || names.size === 200);
      assert.equal(records.length, 200);
    }
    over.abort();
    await writing;
  });

  it("keep the content of files that go while they are held, and can leave files out", async () => {
    await using harness = await openSqliteHarness();
    await using scratch = await folder();
    const store = await filled(harness.engine, 3);
    await putFile(store, "p1", "photo", "a photo");
    const path = join(scratch.path, "copy");
    await using snapshot = await store.snapshot({ path, files: true });
    await store.files.remove("p1", "photo");
    await store.files.sweep();
    const [{ sha256 = "" } = {}] = snapshot.contents.list;
    assert.equal(await readFile(contentPath(snapshot.contents.folder, sha256), "utf8"), "a photo");
    const without = join(scratch.path, "without");
    await using other = await store.snapshot({ path: without, files: false });
    assert.deepEqual([other.files, other.contents.list.count], [{ count: 0n, bytes: 0n }, 0]);
  });

  it("leave nothing when they are cancelled or dropped", async () => {
    await using harness = await openSqliteHarness();
    await using scratch = await folder();
    const store = await filled(harness.engine, 500);
    const path = join(scratch.path, "copy");
    const abort = new AbortController();
    const copying = store.snapshot({ path, files: true, signal: abort.signal });
    abort.abort(new Error("enough"));
    await assert.rejects(copying, /enough/);
    await assert.rejects(readFile(path), { code: "ENOENT" });
    {
      await using intake = await harness.engine.intake();
      await writeFile(intake.dataPath, "not complete");
    }
    assert.deepEqual(await harness.engine.list(), [people]);
  });

  it("are refused with whatever byte changed, unless nothing can be seen of it", async () => {
    await using harness = await openSqliteHarness();
    await using scratch = await folder();
    const store = await filled(harness.engine, 20);
    const path = join(scratch.path, "copy");
    await using snapshot = await store.snapshot({ path, files: true });
    const whole = await readFile(path);
    const expected = expectationOf(snapshot);
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.nat(254), async (at, change) => {
        await using intake = await harness.engine.intake();
        const bytes = Buffer.from(whole);
        bytes[at] = (bytes[at] ?? 0) ^ (change + 1);
        await writeFile(intake.dataPath, bytes);
        // It ends, and says so or finds nothing: bytes in free space are of no matter.
        const problems = await intake.check(expected, undefined);
        assert.ok(problems.every((problem) => !problem.includes(scratch.path)));
      }),
      { numRuns: 15 },
    );
    for (const length of [0, 10, 4096, whole.length - 1]) {
      await using intake = await harness.engine.intake();
      await writeFile(intake.dataPath, whole.subarray(0, length));
      assert.notDeepEqual(await intake.check(expected, undefined), []);
    }
  });

  for (const [what, sql] of Object.entries({
    "a trigger": "CREATE TRIGGER t AFTER INSERT ON record BEGIN DELETE FROM file; END",
    "a view": "CREATE VIEW v AS SELECT 1",
    "another table": "CREATE TABLE x (y)",
    "a missing index": "DROP INDEX record_version",
    "another version": "PRAGMA user_version = 99",
    "a wrong count": "UPDATE meta SET record_count = 7",
    "a file without content":
      "INSERT INTO file VALUES ('p1', 'x', 'abc', 3, '', 0, 0); UPDATE meta SET file_count = 1, file_bytes = 3",
    "an index that is not complete": "UPDATE field_index SET state = 'building'",
    "labels that are none": "UPDATE record SET labels = 'x' WHERE id = 'p1'",
  })) {
    it(`are refused with ${what}`, async () => {
      await using harness = await openSqliteHarness();
      await using scratch = await folder();
      const store = await filled(harness.engine, 20);
      const path = join(scratch.path, "copy");
      await using snapshot = await store.snapshot({ path, files: true });
      await using intake = await harness.engine.intake();
      await copyFile(path, intake.dataPath);
      const db = new DatabaseSync(intake.dataPath);
      db.exec(sql);
      db.close();
      const problems = await intake.check(expectationOf(snapshot), undefined);
      assert.notDeepEqual(problems, []);
    });
  }

  it("are refused with numbers and times that no store writes, and it is said where", async () => {
    await using harness = await openSqliteHarness();
    await using scratch = await folder();
    const store = await filled(harness.engine, 20);
    await putFile(store, "p1", "photo", "a photo");
    await store.write({ steps: [{ kind: "delete", id: "p7" }] });
    const path = join(scratch.path, "copy");
    await using snapshot = await store.snapshot({ path, files: true });
    await using intake = await harness.engine.intake();
    const late = 2n ** 63n - 1n;
    const crafted = {
      "UPDATE record SET version = 999999 WHERE id = 'p1'":
        "record p1: its version is 999999, not from 1 to 21",
      "UPDATE record SET version = -5 WHERE id = 'p1'":
        "record p1: its version is -5, not from 1 to 21",
      "UPDATE record SET seq = 20, version = 19 WHERE id = 'p19'":
        "record p19: the revision that created it is 20, not from 1 to 19",
      [`UPDATE record SET created_us = -${late} WHERE id = 'p2'`]: /^record p2: its creation is -9/,
      [`UPDATE record SET updated_us = ${late} WHERE id = 'p3'`]: /^record p3: its last write is 9/,
      [`UPDATE record SET expires_us = ${late} WHERE id = 'p4'`]: /^record p4: its expiry is 922/,
      "UPDATE tombstone SET revision = 22":
        "deleted record p7: its revision is 22, not from 1 to 21",
      [`UPDATE tombstone SET at_us = ${late}`]: /^deleted record p7: its time is 922/,
      [`UPDATE file SET created_us = ${late}`]: /^file photo: its creation is 922/,
      [`UPDATE file SET updated_us = ${late}`]: /^file photo: its last write is 922/,
      [`UPDATE meta SET shape = ${late}`]: /^database: its shape is 922/,
      "UPDATE meta SET horizon = 22": "database: its horizon is 22, not from 0 to 21",
      [`UPDATE sqlite_sequence SET seq = ${late}`]: "database: the number of an index is none",
      "UPDATE sqlite_sequence SET seq = 'x'": "database: the number of an index is none",
    };
    for (const [sql, expected] of Object.entries(crafted)) {
      await copyFile(path, intake.dataPath);
      const db = new DatabaseSync(intake.dataPath);
      db.exec(sql);
      db.close();
      const expectation = { ...expectationOf(snapshot), contents: undefined };
      const problems = await intake.check(expectation, undefined);
      if (typeof expected === "string") assert.deepEqual(problems, [expected]);
      else assert.match(problems.join("\n"), expected);
    }
    await copyFile(path, intake.dataPath);
    const db = new DatabaseSync(intake.dataPath);
    db.exec("UPDATE record SET created_us = -62135596800000000, updated_us = 253402300799999999");
    db.close();
    const expectation = { ...expectationOf(snapshot), contents: undefined };
    assert.deepEqual(await intake.check(expectation, undefined), []);
  });
});
