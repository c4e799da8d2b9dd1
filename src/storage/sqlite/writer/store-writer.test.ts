import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { defaultLimits } from "../../../lib/limits.ts";
import type { WriteStep } from "../../record-store.ts";
import { contentOf, createStep, peopleLayout, updateStep } from "../../testing/engine-harness.ts";
import { compileIndexKeys } from "../index-keys.ts";
import type { Answer } from "./answer-codec.ts";
import {
  IndexBuild,
  IndexRemoval,
  registerIndex,
  registerRebuild,
  retireIndex,
  retireRebuild,
} from "./index-tasks.ts";
import { StoreWriter } from "./store-writer.ts";
import { type OpenedWriter, openWriter, runGroup } from "./testing/writer-harness.ts";

function reasonsOf(answers: readonly Answer[]): string[] {
  return answers.map((answer) => ("failure" in answer ? answer.failure.reason : "ok"));
}

describe("StoreWriter", () => {
  it("waits for the disk as the store's layout says", async () => {
    await using full = await openWriter();
    await using relaxed = await openWriter({ ...peopleLayout, durability: "relaxed" });
    const level = ({ store }: OpenedWriter): unknown =>
      store.db.prepare("PRAGMA synchronous").get()?.["synchronous"];
    assert.deepEqual([level(full), level(relaxed)], [2n, 1n]);
    const mode = full.store.db.prepare("PRAGMA journal_mode").get();
    assert.equal(mode?.["journal_mode"], "wal");
  });

  it("answers DISK_FULL, keeps what was there, and writes again once there is room", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    const big = { ...contentOf({ name: "big" }), data: new Uint8Array(1_000_000) };
    const bigStep: WriteStep = { kind: "create", id: "big", content: big, labels: {} };
    assert.deepEqual(reasonsOf(runGroup(store, [[createStep("a")]])), ["ok"]);
    store.db.exec("PRAGMA max_page_count = 60");
    assert.deepEqual(reasonsOf(runGroup(store, [[createStep("b")], [bigStep]])), [
      "DISK_FULL",
      "DISK_FULL",
    ]);
    assert.equal(store.revision, 1n);
    assert.deepEqual(reasonsOf(runGroup(store, [[{ kind: "delete", id: "a" }]])), ["ok"]);
    store.db.exec("PRAGMA max_page_count = 100000");
    assert.deepEqual(reasonsOf(runGroup(store, [[createStep("b")], [bigStep]])), ["ok", "ok"]);
    const check = store.db.prepare("PRAGMA integrity_check").get();
    assert.equal(check?.["integrity_check"], "ok");
  });

  it("takes only deletes while the disk's reserve is reached", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    runGroup(store, [[createStep("a"), createStep("b")]]);
    const answers = runGroup(
      store,
      [[createStep("c")], [{ kind: "delete", id: "a" }], [updateStep("b", {})]],
      { diskLow: true },
    );
    assert.deepEqual(reasonsOf(answers), ["DISK_FULL", "ok", "DISK_FULL"]);
    assert(
      answers.every((answer) => !("failure" in answer) || answer.failure.retryAfterMs === 1000),
    );
  });

  it("says that the outcome is unknown when the commit fails on the disk", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    const exec = store.db.exec.bind(store.db);
    store.db.exec = (sql) => {
      if (sql !== "COMMIT") return exec(sql);
      exec("ROLLBACK");
      throw Object.assign(new Error("disk I/O error"), { errcode: 1034 });
    };
    assert.deepEqual(reasonsOf(runGroup(store, [[createStep("a")]])), ["WRITE_OUTCOME_UNKNOWN"]);
    store.db.exec = exec;
    assert.equal(store.settle(), true);
    assert.deepEqual(reasonsOf(runGroup(store, [[createStep("b")]])), ["ok"]);
  });

  it("refuses a store that a newer server wrote, and says what to do", async () => {
    await using opened = await openWriter();
    opened.store.db.exec("PRAGMA user_version = 77");
    assert.throws(() => StoreWriter.open(opened.path, defaultLimits), {
      reason: "STORAGE_UNAVAILABLE",
      message: /has format 77, this server knows up to \d+: start a newer server/,
    });
  });

  it("removes an index in steps", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    const steps = Array.from({ length: 1000 }, (_, age) => createStep(`${age}`, { age }));
    runGroup(store, [steps]);
    retireIndex(store, "age");
    assert.equal(store.indexes.retired, true);
    const removal = new IndexRemoval();
    let count = 1;
    while (!removal.step(store)) count++;
    assert(count > 2, `${count} steps`);
    assert.equal(store.indexes.retired, false);
    assert.deepEqual(tables(store), []);
  });

  it("serves from an index until the one that is built anew is complete, or is given up", async () => {
    await using opened = await openWriter();
    const { store } = opened;
    runGroup(store, [Array.from({ length: 600 }, (_, age) => createStep(`${age}`, { age }))]);
    const rebuild = registerRebuild(store, "age");
    assert.equal(registerRebuild(store, "age").number, rebuild.number);
    new IndexBuild(rebuild.number, ignore).step(store);
    assert.deepEqual(
      [store.indexes.find("age")?.number, store.indexes.find("age")?.state],
      [1n, "ready"],
    );
    retireRebuild(store, "age");
    const removal = new IndexRemoval();
    while (!removal.step(store)) continue;
    assert.deepEqual(tables(store), ["index_1"]);
    registerRebuild(store, "age");
    retireIndex(store, "age");
    assert.equal(store.indexes.findRebuild("age"), undefined, "it goes with the index");
  });

  it("keeps every index equal to the records, whatever is written while it is built", async () => {
    const id = fc.constantFrom("a", "b", "c", "d", "e", "f");
    const value = fc.oneof(
      fc.constantFrom(-9223372036854775808n, 9223372036854775807n, 9007199254740993n, 0n),
      fc.constantFrom("x", "", "Ω", '"'),
      fc.constantFrom(1.5, true, null),
    );
    const fields = fc.record({ n: fc.oneof(value, fc.array(value, { maxLength: 3 })), age: value });
    const step = fc.oneof(
      fc.tuple(id, fields).map(([id, fields]) => upsert(id, toJson(fields))),
      id.map((id): WriteStep => ({ kind: "delete", id, allowMissing: true })),
    );
    const action = fc.oneof(
      fc.array(fc.array(step, { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 4 }),
      fc.constant("build" as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(action, { maxLength: 6 }),
        fc.array(action, { maxLength: 8 }),
        async (before, during) => {
          await using opened = await openWriter();
          const { store } = opened;
          const builds: IndexBuild[] = [];
          for (const [turn, next] of [...before, "build" as const, ...during].entries()) {
            if (next !== "build") runGroup(store, next);
            else if (turn === before.length) {
              // One is new, the other takes the place of one that has lost everything.
              store.db.exec("DELETE FROM index_1");
              const indexes = [registerIndex(store, "n"), registerRebuild(store, "age")];
              builds.push(...indexes.map(({ number }) => new IndexBuild(number, ignore, 1)));
            } else if (turn > before.length) for (const build of builds) build.step(store);
          }
          for (const build of builds) while (!build.step(store)) continue;
          for (const path of ["age", "n"]) {
            assert.equal(store.indexes.find(path)?.state, "ready");
            assertIndex(store, path);
          }
          assert.equal(store.indexes.findRebuild("age"), undefined);
          assert.deepEqual(tables(store), ["index_2", "index_3"]);
        },
      ),
      { numRuns: 60 },
    );
  });
});

const ignore = (): undefined => undefined;

/** Names of the tables of indexes on fields. */
function tables(store: StoreWriter): unknown[] {
  const rows = store.db
    .prepare("SELECT name FROM sqlite_schema WHERE name GLOB 'index_*' ORDER BY name")
    .all();
  return rows.map(({ name }) => name);
}

function upsert(id: string, document: string): WriteStep {
  const content = contentOf({}, { data: new Uint8Array(0), document });
  return { kind: "update", id, content, labels: {}, allowMissing: true };
}

function toJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(toJson).join()}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(
      ([key, item]) => `${JSON.stringify(key)}:${toJson(item)}`,
    );
    return `{${members.join()}}`;
  }
  return JSON.stringify(value);
}

function entry(value: unknown, seq: unknown): string {
  return `${typeof value} ${String(value)} ${String(seq)}`;
}

function assertIndex(store: StoreWriter, path: string): void {
  const number = store.indexes.find(path)?.number;
  const rows = store.db.prepare("SELECT seq, json(document) AS document FROM record").all();
  const read = compileIndexKeys([path]);
  const expected = new Set<string>();
  for (const { seq, document } of rows) {
    const keys = read(String(document))[0] ?? [];
    for (const key of keys) expected.add(entry(key, seq));
    if (keys.length === 0) expected.add(entry(new Uint8Array(0), seq));
  }
  const entries = store.db.prepare(`SELECT value, seq FROM index_${number}`).all();
  const found = entries.map(({ value, seq }) => entry(value, seq));
  assert.deepEqual(found.toSorted(), [...expected].toSorted());
}
