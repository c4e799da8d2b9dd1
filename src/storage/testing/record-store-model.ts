import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import type { RecordStore, Write, WriteStep } from "../record-store.ts";
import { contentOf, type OpenHarness, peopleLayout, searchWords } from "./engine-harness.ts";

/** The same store, as simple as it can be. */
class ModelStore {
  readonly records = new Map<string, { version: bigint; text: string; label: string }>();
  readonly deleted = new Map<string, bigint>();
  revision = 0n;

  /** @returns what changed, or the reason of the refusal. */
  write(steps: readonly ModelStep[]): string[] | string {
    const before = {
      records: structuredClone([...this.records]),
      deleted: [...this.deleted],
      revision: this.revision,
    };
    const changes: string[] = [];
    for (const step of steps) {
      const change = this.#apply(step);
      if (change === change.toUpperCase()) {
        this.records.clear();
        for (const [id, record] of before.records) this.records.set(id, record);
        this.deleted.clear();
        for (const [id, revision] of before.deleted) this.deleted.set(id, revision);
        this.revision = before.revision;
        return change;
      }
      changes.push(change);
    }
    return changes;
  }

  #apply({ kind, id, text, label, allowMissing, guess }: ModelStep): string {
    const record = this.records.get(id);
    if (kind === "create" || (kind === "update" && record === undefined && allowMissing)) {
      if (record !== undefined) return "RECORD_EXISTS";
      if (kind === "update" && guess !== undefined) return "VERSION_MISMATCH";
      this.revision++;
      this.records.set(id, { version: this.revision, text, label });
      this.deleted.delete(id);
      return `created ${this.revision}`;
    }
    if (record === undefined) {
      return kind === "delete" && allowMissing ? "none 0" : "RECORD_NOT_FOUND";
    }
    if (guess !== undefined && guess !== record.version) return "VERSION_MISMATCH";
    this.revision++;
    if (kind === "delete") {
      this.records.delete(id);
      this.deleted.set(id, this.revision);
      return `deleted ${record.version}`;
    }
    record.version = this.revision;
    record.text = text;
    record.label = label;
    return `updated ${this.revision}`;
  }
}

interface ModelStep {
  readonly kind: "create" | "update" | "delete";
  readonly id: string;
  readonly text: string;
  readonly label: string;
  readonly allowMissing: boolean;
  readonly guess: bigint | undefined;
}

type Action =
  | { readonly do: "writes"; readonly writes: readonly (readonly ModelStep[])[] }
  | { readonly do: "check" }
  | { readonly do: "reopen" };

const words = ["red", "green", "blue"];

const step: fc.Arbitrary<ModelStep> = fc.record({
  kind: fc.constantFrom("create", "create", "update", "delete"),
  id: fc.constantFrom("a", "b", "c", "'d\"", "é"),
  text: fc.array(fc.constantFrom(...words), { maxLength: 3 }).map((chosen) => chosen.join(" ")),
  label: fc.string({ maxLength: 4 }),
  allowMissing: fc.boolean(),
  guess: fc.option(fc.bigInt(1n, 12n), { nil: undefined, freq: 3 }),
});

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      do: fc.constant("writes" as const),
      writes: fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { maxLength: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ do: "check" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
);

/** Random histories, compared with a model after every turn. */
export function describeRecordStoreModel(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}, whatever its history`, () => {
    it("ends as the model says, reopened or not", async () => {
      await using harness = await open();
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(fc.array(action, { maxLength: 12 }), async (actions) => {
          const location = { storeId: "model", generation: ++generation };
          await harness.engine.create(location, peopleLayout);
          const model = new ModelStore();
          for (const next of [...actions, { do: "check" } as const]) {
            if (next.do === "reopen") await harness.reopen();
            const store = harness.engine.store(location);
            if (next.do === "writes") await writeAll(store, model, next.writes);
            else await check(store, model);
          }
        }),
        { numRuns: 40 },
      );
    });
  });
}

async function writeAll(
  store: RecordStore,
  model: ModelStore,
  writes: readonly (readonly ModelStep[])[],
): Promise<void> {
  const answers = await Promise.all(writes.map((steps) => answerOf(store.write(toWrite(steps)))));
  assert.deepEqual(
    answers,
    writes.map((steps) => model.write(steps)),
  );
}

async function answerOf(written: ReturnType<RecordStore["write"]>): Promise<string[] | string> {
  try {
    const { outcomes } = await written;
    return outcomes.map(({ change, version }) => `${change} ${version}`);
  } catch (error) {
    if (error instanceof CollectorError) return error.reason;
    throw error;
  }
}

function toWrite(steps: readonly ModelStep[]): Write {
  return {
    steps: steps.map(({ kind, id, text, label, allowMissing, guess }): WriteStep => {
      const content = contentOf({ name: text, age: text.length });
      const labels = { label };
      if (kind === "create") return { kind, id, content, labels };
      if (kind === "delete") return { kind, id, ifVersion: guess, allowMissing };
      return { kind, id, content, labels, ifVersion: guess, allowMissing };
    }),
  };
}

async function check(store: RecordStore, model: ModelStore): Promise<void> {
  const { records, totalCount } = await store.list({ limit: 100 });
  assert.equal(totalCount, BigInt(model.records.size));
  const expected = [...model.records].map(([id, { version, text, label }]) => ({
    id,
    version,
    data: JSON.stringify({ name: text, age: text.length }),
    labels: { label },
  }));
  const plain = (record: (typeof records)[number] | undefined): unknown =>
    record && {
      id: record.id,
      version: record.version,
      data: Buffer.from(record.data).toString(),
      labels: record.labels,
    };
  assert.deepEqual(records.map(plain), expected);
  const ids = ["nobody", ...model.records.keys()];
  assert.deepEqual((await store.get(ids)).map(plain), [undefined, ...expected]);
  for (const word of words) {
    const { hits, totalCount } = await searchWords(store, [word]);
    const found = hits.map(({ record }) => record.id).sort();
    const having = [...model.records].filter(([, { text }]) => text.split(" ").includes(word));
    assert.deepEqual(found, having.map(([id]) => id).sort());
    assert.equal(totalCount, BigInt(having.length));
  }
  const { changes, revision } = await store.changes(0n, 1000);
  assert.equal(revision, model.revision);
  const history = [
    ...[...model.records].map(([id, { version }]) => ({ id, revision: version, kind: "written" })),
    ...[...model.deleted].map(([id, at]) => ({ id, revision: at, kind: "deleted" })),
  ].sort((a, b) => Number(a.revision - b.revision));
  assert.deepEqual(
    changes.map(({ id, revision, kind }) => ({ id, revision, kind })),
    history,
  );
}
