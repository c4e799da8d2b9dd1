import assert from "node:assert/strict";
import { rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { describe, it } from "node:test";
import type { VectorIndexDefinition } from "../../store-layout.ts";
import { contentOf, peopleLayout, peopleText } from "../../testing/engine-harness.ts";
import { completeShape, reshape, SearchRemoval } from "../writer/search-tasks.ts";
import type { StoreWriter } from "../writer/store-writer.ts";
import { openWriter, runGroup } from "../writer/testing/writer-harness.ts";
import { schemaProblems } from "./expected-schema.ts";
import { takeSnapshot } from "./take-snapshot.ts";

const place: VectorIndexDefinition = { name: "place", dimensions: 2, metric: "l2" };
const layout = { ...peopleLayout, vectors: [place] };
const other = { ...peopleText, tokenizer: "trigram" } as const;

/** Takes a snapshot of a store as it is now. @returns what is wrong with it for a store of what it says it is */
function problemsOf(path: string): readonly string[] {
  const target = join(dirname(path), "snapshot");
  const facts = takeSnapshot({ kind: "snapshot", source: path, target, files: true, nowUs: 1n });
  const copy = new DatabaseSync(target, { readBigInts: true });
  try {
    const sound = copy.prepare("PRAGMA integrity_check").get();
    assert.equal(sound?.["integrity_check"], "ok");
    return schemaProblems(copy, { ...layout, ...facts.layout });
  } finally {
    copy.close();
  }
}

/** More than one step of a removal takes away. */
function fill(store: StoreWriter): void {
  const { version } = store.search.rows;
  const steps = Array.from({ length: 3000 }, (_, number) => ({
    kind: "create" as const,
    id: `${number}`,
    content: contentOf(
      { name: `word${number}` },
      { shape: version, texts: [[`word${number}`, ""]], vectors: [Float32Array.of(1, number)] },
    ),
    labels: {},
  }));
  runGroup(store, [steps]);
}

describe("a snapshot holds what is in use, and nothing else, of a store", () => {
  const changes: Readonly<Record<string, (store: StoreWriter) => void>> = {
    "nothing happens to": () => undefined,
    "searches other text soon": (store) => void reshape(store, { text: other, vectors: [place] }),
    "searches other text now": (store) => {
      reshape(store, { text: other, vectors: [place] });
      completeShape(store);
    },
    "searches no text any more": (store) =>
      void reshape(store, { text: undefined, vectors: [place] }),
    "searches nothing any more": (store) => void reshape(store, { text: undefined, vectors: [] }),
  };
  for (const [what, change] of Object.entries(changes)) {
    it(`that ${what}, at each step of its removals`, async () => {
      await using opened = await openWriter(layout);
      const { store, path } = opened;
      fill(store);
      change(store);
      const removal = new SearchRemoval();
      for (let step = 0; ; step += 1) {
        assert.deepEqual(problemsOf(path), [], `after ${step} steps`);
        await rm(join(dirname(path), "snapshot"));
        if (removal.step(store)) break;
      }
    });
  }
});
