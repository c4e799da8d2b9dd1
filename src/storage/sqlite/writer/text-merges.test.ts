import assert from "node:assert/strict";
import type { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../../../errors.ts";
import { textTableName } from "../search-tables.ts";
import { parseTextLevels, type TextLevel, textLevelsReader } from "../text-levels.ts";
import { openWriter } from "./testing/writer-harness.ts";
import { nextMerge, TextMerges } from "./text-merges.ts";

const table = textTableName(1n);
const width = 4;
const deadPercent = 30;
const crisis = 64;
const largeEntries = 50;

/** The text table of a store, written without the store. */
class TextTable {
  readonly db: DatabaseSync;
  readonly levels: () => readonly TextLevel[];
  readonly rows = new Set<number>();
  #next = 1;

  constructor(db: DatabaseSync) {
    this.db = db;
    this.levels = textLevelsReader(db, 1n);
    this.tell("usermerge", width);
    this.tell("deletemerge", deadPercent);
    this.tell("crisismerge", crisis);
  }

  /** @param after what is done in the same transaction */
  insert(count: number, after: () => void = () => undefined, words = "often"): void {
    this.#transact(() => {
      const insert = this.db.prepare(`INSERT INTO ${table} (rowid, t0, t1) VALUES (?, ?, '')`);
      for (let added = 0; added < count; added += 1) {
        insert.run(BigInt(this.#next), `${words} word${this.#next % 7}`);
        this.rows.add(this.#next);
        this.#next += 1;
      }
      after();
    });
  }

  delete(rows: readonly number[]): void {
    this.#transact(() => {
      const remove = this.db.prepare(`DELETE FROM ${table} WHERE rowid = ?`);
      for (const row of rows) {
        remove.run(BigInt(row));
        this.rows.delete(row);
      }
    });
  }

  merge(pages: number): void {
    this.#transact(() => this.tell("merge", pages));
  }

  quietStep(merges: TextMerges): void {
    this.#transact(() => merges.quietStep());
  }

  structure(): unknown {
    return this.db.prepare(`SELECT block FROM ${table}_data WHERE id = 10`).get()?.["block"];
  }

  assertFinds(): void {
    const found = this.db.prepare(`SELECT rowid FROM ${table} WHERE ${table} MATCH 'often'`).all();
    assert.deepEqual(
      found.map(({ rowid }) => Number(rowid)),
      [...this.rows],
    );
    this.db.exec(`INSERT INTO ${table} (${table}) VALUES ('integrity-check')`);
  }

  tell(command: string, value: number): void {
    this.db
      .prepare(`INSERT INTO ${table} (${table}, rank) VALUES (?, ?)`)
      .run(command, BigInt(value));
  }

  #transact(change: () => void): void {
    this.db.exec("BEGIN");
    change();
    this.db.exec("COMMIT");
  }
}

function mergesOf(db: DatabaseSync): TextMerges {
  return new TextMerges(db, 1n, "words", largeEntries);
}

function entriesOf(levels: readonly TextLevel[]): number {
  return levels.reduce((sum, { entries }) => sum + entries, 0);
}

describe("nextMerge", () => {
  it("tells what FTS5 does next, whatever was written and merged before", async () => {
    const action = fc.oneof(
      { weight: 6, arbitrary: fc.record({ insert: fc.integer({ min: 1, max: 9 }) }) },
      { weight: 2, arbitrary: fc.record({ delete: fc.array(fc.nat(), { maxLength: 9 }) }) },
      { weight: 3, arbitrary: fc.record({ merge: fc.constantFrom(1, 2, 8, -1) }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60, size: "max" }), async (actions) => {
        await using opened = await openWriter();
        const text = new TextTable(opened.store.db);
        for (const next of actions) {
          if ("insert" in next) text.insert(next.insert);
          else if ("merge" in next) text.merge(next.merge);
          else {
            const rows = [...text.rows];
            text.delete([...new Set(next.delete.map((at) => rows[at % rows.length] ?? 0))]);
          }
          const levels = text.levels();
          const before = text.structure();
          const level = nextMerge(levels, { width, deadPercent, crisis });
          text.db.exec("BEGIN");
          text.db.prepare(`INSERT INTO ${table} (${table}, rank) VALUES ('merge', 1)`).run();
          const after = text.levels();
          const isSame = Buffer.compare(before as Buffer, text.structure() as Buffer) === 0;
          text.db.exec("ROLLBACK");
          assert.equal(level === undefined, isSame);
          if (level === undefined) continue;
          const at = levels.indexOf(level);
          assert.notDeepEqual(after[at], level);
          assert.deepEqual(after.slice(0, at), levels.slice(0, at));
        }
        text.assertFinds();
      }),
      { numRuns: 60 },
    );
  });
});

describe("parseTextLevels", () => {
  it("counts entries, dead ones and segments", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    for (const count of [300, 20, 20]) text.insert(count);
    text.delete([1, 2, 3, 305]);
    const [level] = text.levels();
    const all = { segments: 3, merging: 0, entries: 340, dead: 4, largest: 300, pages: 3 };
    assert.deepEqual(level, all);
    text.merge(-1000);
    const live = text.levels().filter(({ segments }) => segments > 0);
    const one = { segments: 1, merging: 0, entries: 336, dead: 0, largest: 336, pages: 2 };
    assert.deepEqual(live, [one]);
  });

  it("refuses what is no structure record", () => {
    const marked = [0, 0, 0, 0, 0xff, 0, 0, 1];
    // The last says that it has 2^56 levels.
    const tooMany = [...marked, ...Array.from({ length: 7 }, () => 0x81), 0, 1, 1];
    for (const bytes of [[], [0, 0, 0, 0, 1, 1, 1, 1], [...marked, 2, 1], tooMany]) {
      assert.throws(() => parseTextLevels(Uint8Array.from(bytes)), CollectorError);
    }
  });
});

describe("TextMerges", () => {
  it("merges no large level while few are written at a time, until there are many segments", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    const merges = mergesOf(opened.store.db);
    let mostSegments = 0;
    for (let group = 0; group < 600; group += 1) {
      text.insert(1, () => merges.afterGroup(1, 10));
      for (const { segments, merging, entries } of text.levels()) {
        mostSegments = Math.max(mostSegments, segments);
        if (merging > 0 && entries > largeEntries) assert(segments >= crisis / 4);
      }
    }
    assert(mostSegments > width + 1 && mostSegments <= crisis / 4 + 1, `${mostSegments} segments`);
    assert(Math.max(...text.levels().map(({ largest }) => largest)) > largeEntries);
    text.assertFinds();
  });

  it("does not go on with a large level when it is done with a small one", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    for (let large = 0; large < width; large += 1) {
      for (let part = 0; part < width; part += 1) text.insert(1000);
      while (text.levels()[0]?.segments !== 0) text.merge(1);
    }
    text.merge(1);
    const underWay = text.levels().findLast(({ merging }) => merging > 0);
    assert(underWay !== undefined && underWay.entries > largeEntries && underWay.pages > 10);
    // Segments with a page that is almost empty, of words that are the same in all of them.
    const words = Array.from({ length: 500 }, (_, at) => `often common${at}`).join(" ");
    for (const [segments, inserted] of [
      [width, "often"],
      [16, words],
    ] as const) {
      text.tell("usermerge", segments);
      const merges = mergesOf(opened.store.db);
      let mostSegments = 0;
      for (let group = 0; group < 40; group += 1) {
        text.insert(1, () => merges.afterGroup(1, 10), inserted);
        const levels = text.levels();
        mostSegments = Math.max(mostSegments, levels[0]?.segments ?? 0);
        assert.equal(levels.findLast(({ merging }) => merging > 0)?.pages, underWay.pages);
      }
      // The small ones were merged.
      assert(mostSegments <= segments + 4, `${mostSegments} segments`);
    }
    text.assertFinds();
  });

  it("merges a large level with a group that takes as long itself", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    const merges = new TextMerges(opened.store.db, 1n, "words", 1000);
    for (const rows of [400, 400, 400, 1, 1]) {
      text.insert(rows, () => merges.afterGroup(rows, 10 * rows));
    }
    assert.equal(text.levels()[0]?.segments, 5);
    assert.equal(text.levels()[0]?.merging, 0);
    text.insert(500, () => merges.afterGroup(500, 5000));
    assert.equal(
      text.levels().reduce((sum, { segments }) => sum + segments, 0),
      1,
    );
    text.assertFinds();
  });

  it("makes one segment of a large index in steps of a quiet moment", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    const merges = mergesOf(opened.store.db);
    for (let group = 0; group < 200; group += 1) {
      text.insert(5, () => merges.afterGroup(5, 50));
      if (group % 3 === 0) text.delete([group * 2 + 1, group * 5 + 1]);
    }
    assert.equal(merges.isUntidy, true);
    let steps = 0;
    for (; merges.isUntidy && steps < 1000; steps += 1) {
      text.quietStep(merges);
      // Others may write before the next step.
      if (steps < 5) text.insert(1, () => merges.afterGroup(1, 10));
    }
    assert.equal(merges.isUntidy, false);
    const levels = text.levels();
    const largest = Math.max(...levels.map((level) => level.largest));
    assert(largest >= text.rows.size - 10, `${largest} of ${text.rows.size} are in one segment`);
    assert(entriesOf(levels) <= text.rows.size + 10);
    text.assertFinds();
    // It is left at that until a quarter has changed.
    text.insert(5, () => merges.afterGroup(5, 50));
    assert.equal(merges.isUntidy, false);
    text.delete([...text.rows].slice(0, 400));
    text.insert(5, () => merges.afterGroup(5, 50));
    assert.equal(merges.isUntidy, true);
  });

  it("leaves it at that if FTS5 does nothing", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    const merges = mergesOf(opened.store.db);
    // Not what it was when that was read.
    text.tell("usermerge", 16);
    for (const rows of [40, 40, 40, 40]) text.insert(rows, () => merges.afterGroup(1, 10));
    text.insert(1, () => merges.afterGroup(1, 10));
    assert.equal(merges.isUntidy, true);
    text.quietStep(merges);
    assert.equal(merges.isUntidy, false);
  });

  it("has nothing to do for a small index", async () => {
    await using opened = await openWriter();
    const text = new TextTable(opened.store.db);
    const merges = mergesOf(opened.store.db);
    for (let group = 0; group < 40; group += 1) {
      text.insert(1, () => merges.afterGroup(1, 10));
      assert.equal(merges.isUntidy, false);
    }
    const before = text.structure();
    text.quietStep(merges);
    assert.deepEqual(text.structure(), before);
  });
});
