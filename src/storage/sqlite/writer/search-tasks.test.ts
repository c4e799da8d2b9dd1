import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { defaultLimits } from "../../../lib/limits.ts";
import type { WriteStep } from "../../record-store.ts";
import type { TextIndexDefinition, Tokenizer, VectorIndexDefinition } from "../../store-layout.ts";
import { contentOf, peopleLayout, peopleText } from "../../testing/engine-harness.ts";
import { textTableName } from "../search-tables.ts";
import { completeShape, reshape, SearchRemoval } from "./search-tasks.ts";
import { StoreWriter } from "./store-writer.ts";
import { openWriter, runGroup } from "./testing/writer-harness.ts";

const place: VectorIndexDefinition = { name: "place", dimensions: 2, metric: "l2" };
const tokenizers: readonly Tokenizer[] = ["words", "exact-words", "english", "trigram"];

function textOf(tokenizer: Tokenizer): TextIndexDefinition {
  return { ...peopleText, tokenizer };
}

/** Writes a record with content for whatever the store searches now. */
function put(store: StoreWriter, id: string, name: string): WriteStep {
  return { kind: "update", id, content: content(store, name), labels: {}, allowMissing: true };
}

function content(store: StoreWriter, name: string): ReturnType<typeof contentOf> {
  const { version, texts, vectors } = store.search.rows;
  return contentOf(
    { name },
    {
      shape: version,
      texts: texts.map(() => [name, ""]),
      vectors: vectors.map(({ definition: { dimensions } }) =>
        name === "" ? undefined : new Float32Array(dimensions).fill(name.length),
      ),
    },
  );
}

/** Seqs of the records that a text index finds. */
function found(store: StoreWriter, number: bigint, query: string): bigint[] {
  const table = textTableName(number);
  const rows = store.db.prepare(`SELECT rowid FROM ${table} WHERE ${table} MATCH ? ORDER BY rowid`);
  return rows.all(`"${query}"`).map(({ rowid }) => rowid as bigint);
}

function tablesOf(store: StoreWriter): string[] {
  const rows = store.db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").all();
  return rows
    .map(({ name }) => String(name))
    .filter((name) => /^(dropped|text|vector)_/.test(name));
}

function assertSound(store: StoreWriter): void {
  const check = store.db.prepare("PRAGMA integrity_check").get();
  assert.equal(check?.["integrity_check"], "ok");
}

describe("what a store searches", () => {
  for (const [tokenizer, finds, misses] of [
    ["words", ["jose", "JOSÉ", "running"], ["run", "ose"]],
    ["exact-words", ["josé", "RUNNING"], ["jose", "run"]],
    ["english", ["jose", "run", "runs"], ["ose"]],
    ["trigram", ["osé", "UNN", "sé ru"], ["ose", "jo"]],
  ] satisfies [Tokenizer, string[], string[]][]) {
    it(`finds text as the tokenizer ${tokenizer} makes words of it`, async () => {
      await using opened = await openWriter({ ...peopleLayout, text: textOf(tokenizer) });
      const { store } = opened;
      runGroup(store, [[put(store, "a", "José running")]]);
      for (const query of finds) assert.deepEqual(found(store, 1n, query), [1n], query);
      for (const query of misses) assert.deepEqual(found(store, 1n, query), [], query);
    });
  }

  it("goes in steps when it is out of use, on where a crash has stopped it", async () => {
    await using opened = await openWriter({ ...peopleLayout, vectors: [place] });
    const { store, path } = opened;
    for (let from = 0; from < 3000; from += 500) {
      const numbers = Array.from({ length: 500 }, (_, number) => from + number);
      runGroup(store, [numbers.map((number) => put(store, `${number}`, `word${number}`))]);
    }
    reshape(store, { text: undefined, vectors: [] });
    assert.equal(store.search.retired, true);
    assertSound(store);
    assert.equal(new SearchRemoval().step(store), false);
    assert(tablesOf(store).length > 1);
    store.close();
    const again = StoreWriter.open(path, defaultLimits);
    try {
      assert.equal(again.search.retired, true);
      const removal = new SearchRemoval();
      let steps = 1;
      while (!removal.step(again)) steps++;
      assert(steps > 5, `${steps} steps`);
      assert.equal(again.search.retired, false);
      assert.deepEqual(tablesOf(again), []);
      assertSound(again);
    } finally {
      again.close();
    }
  });

  it("stays equal to the records, whatever is written while it changes", async () => {
    const id = fc.constantFrom("a", "b", "c", "d", "e");
    const name = fc.constantFrom("", "red apple", "green apples", "blue");
    const action = fc.oneof(
      fc.record({ do: fc.constant("put" as const), id, name }),
      fc.record({ do: fc.constant("delete" as const), id }),
      fc.record({
        do: fc.constant("reshape" as const),
        tokenizer: fc.option(fc.constantFrom(...tokenizers), { nil: undefined }),
        dimensions: fc.option(fc.constantFrom(2, 3), { nil: undefined }),
      }),
      fc.constant({ do: "complete" as const }),
      fc.constant({ do: "remove" as const }),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(action, { minLength: 1 }), { maxLength: 12 }),
        async (turns) => {
          await using opened = await openWriter();
          const { store } = opened;
          const names = new Map<string, string>();
          for (const next of turns.flat()) {
            if (next.do === "put") {
              names.set(next.id, next.name);
              runGroup(store, [[put(store, next.id, next.name)]]);
            } else if (next.do === "delete") {
              names.delete(next.id);
              runGroup(store, [[{ kind: "delete", id: next.id, allowMissing: true }]]);
            } else if (next.do === "reshape") {
              const { tokenizer, dimensions } = next;
              reshape(store, {
                text: tokenizer && textOf(tokenizer),
                vectors: dimensions === undefined ? [] : [{ ...place, dimensions }],
              });
            } else if (next.do === "complete") {
              deriveAll(store, names);
              completeShape(store);
            } else {
              new SearchRemoval().step(store);
            }
          }
          deriveAll(store, names);
          const removal = new SearchRemoval();
          while (!removal.step(store)) continue;
          assertFound(store, names);
          assertSound(store);
        },
      ),
      { numRuns: 40 },
    );
  });
});

/** Derives all records anew, as after a reshape. */
function deriveAll(store: StoreWriter, names: ReadonlyMap<string, string>): void {
  const versions = store.db.prepare("SELECT version FROM record WHERE id = ?");
  const steps = [...names].map(([id, name]): WriteStep => {
    const version = versions.get(id)?.["version"] as bigint;
    return { kind: "derive", id, ifVersion: version, derived: content(store, name) };
  });
  if (steps.length > 0) runGroup(store, [steps]);
}

function assertFound(store: StoreWriter, names: ReadonlyMap<string, string>): void {
  const records = store.db.prepare("SELECT id, seq FROM record ORDER BY seq").all();
  const holding = (word: string): unknown[] =>
    records.flatMap(({ id, seq }) => (names.get(String(id))?.includes(word) ? [seq] : []));
  const { texts, vectors } = store.search.rows;
  for (const { number } of texts) {
    assert.deepEqual(found(store, number, "blue"), holding("blue"));
    assert.deepEqual(found(store, number, "red"), holding("red"));
  }
  for (const { number, definition } of vectors) {
    const rows = store.db.prepare(`SELECT seq, value FROM vector_${number} ORDER BY seq`).all();
    assert.deepEqual(
      rows.map(({ seq }) => seq),
      records.flatMap(({ id, seq }) => (names.get(String(id)) === "" ? [] : [seq])),
    );
    const bytes = definition.dimensions * Float32Array.BYTES_PER_ELEMENT;
    assert(rows.every(({ value }) => value instanceof Uint8Array && value.byteLength === bytes));
  }
}
