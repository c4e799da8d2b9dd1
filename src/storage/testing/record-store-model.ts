import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import type { RecordStore, Write, WriteStep } from "../record-store.ts";
import {
  contentOf,
  ManualClock,
  type OpenHarness,
  peopleLayout,
  searchWords,
} from "./engine-harness.ts";

interface ModelRecord {
  version: bigint;
  text: string;
  label: string;
  expiresUs: bigint | undefined;
}

/** The same store, as simple as it can be. */
class ModelStore {
  /** Those whose time has come too, until they are removed. */
  readonly rows = new Map<string, ModelRecord>();
  readonly deleted = new Map<string, bigint>();
  revision = 0n;
  readonly #clock: ManualClock;

  constructor(clock: ManualClock) {
    this.#clock = clock;
  }

  /** What reads find, by id. */
  get records(): [id: string, record: ModelRecord][] {
    return [...this.rows].filter(([id]) => this.#find(id) !== undefined);
  }

  /** @returns what changed, or the reason of the refusal. */
  write(steps: readonly ModelStep[]): string[] | string {
    const before = {
      rows: structuredClone([...this.rows]),
      deleted: [...this.deleted],
      revision: this.revision,
    };
    const changes: string[] = [];
    for (const step of steps) {
      const change = this.#apply(step);
      if (change === change.toUpperCase()) {
        this.rows.clear();
        for (const [id, record] of before.rows) this.rows.set(id, record);
        this.deleted.clear();
        for (const [id, revision] of before.deleted) this.deleted.set(id, revision);
        this.revision = before.revision;
        return change;
      }
      changes.push(change);
    }
    return changes;
  }

  #find(id: string): ModelRecord | undefined {
    const row = this.rows.get(id);
    if (row?.expiresUs !== undefined && row.expiresUs <= this.#clock.nowUs()) return undefined;
    return row;
  }

  #apply(step: ModelStep): string {
    const { kind, id, text, label, allowMissing, guess } = step;
    const record = this.#find(id);
    if (kind === "expire") return this.#expire(id, record);
    const content = { text, expiresUs: this.expiresUs(step) };
    if (kind === "create" || (kind === "update" && record === undefined && allowMissing)) {
      if (record !== undefined) return "RECORD_EXISTS";
      if (kind === "update" && guess !== undefined) return "VERSION_MISMATCH";
      this.revision++;
      this.rows.delete(id);
      this.rows.set(id, { version: this.revision, label, ...content });
      this.deleted.delete(id);
      return `created ${this.revision}`;
    }
    if (record === undefined) {
      return kind === "delete" && allowMissing ? "none 0" : "RECORD_NOT_FOUND";
    }
    if (guess !== undefined && guess !== record.version) return "VERSION_MISMATCH";
    if (kind === "delete") return this.#delete(id, record);
    this.revision++;
    const before = viewOf(record.text, record.label);
    Object.assign(record, { version: this.revision, label, ...content });
    return `updated ${this.revision} ${before}`;
  }

  #expire(id: string, record: ModelRecord | undefined): string {
    if (record !== undefined) return `none ${record.version}`;
    const row = this.rows.get(id);
    return row === undefined ? "none 0" : this.#delete(id, row);
  }

  #delete(id: string, { version, text, label }: ModelRecord): string {
    this.revision++;
    this.rows.delete(id);
    this.deleted.set(id, this.revision);
    return `deleted ${version} ${viewOf(text, label)}`;
  }

  expiresUs({ ttlMs }: ModelStep): bigint | undefined {
    return ttlMs === undefined ? undefined : this.#clock.nowUs() + BigInt(ttlMs) * 1000n;
  }
}

interface ModelStep {
  readonly kind: "create" | "update" | "delete" | "expire";
  readonly id: string;
  readonly text: string;
  readonly label: string;
  readonly ttlMs: number | undefined;
  readonly allowMissing: boolean;
  readonly guess: bigint | undefined;
}

type Action =
  | { readonly do: "writes"; readonly writes: readonly (readonly ModelStep[])[] }
  | { readonly do: "check" }
  | { readonly do: "wait" }
  | { readonly do: "reopen" };

const words = ["red", "green", "blue"];

const step: fc.Arbitrary<ModelStep> = fc.record({
  kind: fc.constantFrom("create", "create", "update", "delete", "expire"),
  id: fc.constantFrom("a", "b", "c", "'d\"", "é"),
  text: fc.array(fc.constantFrom(...words), { maxLength: 3 }).map((chosen) => chosen.join(" ")),
  label: fc.string({ maxLength: 4 }),
  ttlMs: fc.option(fc.nat(3), { nil: undefined, freq: 3 }),
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
  { weight: 2, arbitrary: fc.constant({ do: "wait" as const }) },
  { weight: 1, arbitrary: fc.constant({ do: "reopen" as const }) },
);

/** Random histories, compared with a model after every turn. */
export function describeRecordStoreModel(engineName: string, open: OpenHarness): void {
  describe(`RecordStore on ${engineName}, whatever its history`, () => {
    it("ends as the model says, reopened or not", async () => {
      const clock = new ManualClock();
      await using harness = await open({ clock });
      let generation = 0n;
      await fc.assert(
        fc.asyncProperty(fc.array(action, { maxLength: 12 }), async (actions) => {
          const location = { storeId: "model", generation: ++generation };
          await harness.engine.create(location, peopleLayout);
          const model = new ModelStore(clock);
          for (const next of [...actions, { do: "check" } as const]) {
            if (next.do === "reopen") await harness.reopen();
            if (next.do === "wait") clock.advanceMs(1);
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
  const answers = await Promise.all(
    writes.map((steps) => answerOf(store.write(toWrite(steps, model)))),
  );
  assert.deepEqual(
    answers,
    writes.map((steps) => model.write(steps)),
  );
}

async function answerOf(written: ReturnType<RecordStore["write"]>): Promise<string[] | string> {
  try {
    const { outcomes } = await written;
    return outcomes.map(({ change, version, before }) => {
      const was = before && ` ${before.document} ${JSON.stringify(before.labels)}`;
      return `${change} ${version}${was ?? ""}`;
    });
  } catch (error) {
    if (error instanceof CollectorError) return error.reason;
    throw error;
  }
}

/** A record before a step, as {@link answerOf} writes it. */
function viewOf(text: string, label: string): string {
  return `${JSON.stringify(fieldsOf(text))} ${JSON.stringify({ label })}`;
}

function fieldsOf(text: string): { name: string; age: number } {
  return { name: text, age: text.length };
}

function toWrite(steps: readonly ModelStep[], model: ModelStore): Write {
  return {
    wantsBefore: true,
    steps: steps.map((step): WriteStep => {
      const { kind, id, text, label, allowMissing, guess } = step;
      const content = contentOf(fieldsOf(text), { expiresUs: model.expiresUs(step) });
      const labels = { label };
      if (kind === "expire") return { kind, id };
      if (kind === "create") return { kind, id, content, labels };
      if (kind === "delete") return { kind, id, ifVersion: guess, allowMissing };
      return { kind, id, content, labels, ifVersion: guess, allowMissing };
    }),
  };
}

async function check(store: RecordStore, model: ModelStore): Promise<void> {
  const { records, totalCount } = await store.list({ limit: 100 });
  assert.equal(totalCount, BigInt(model.records.length));
  const expected = model.records.map(([id, { version, text, label }]) => ({
    id,
    version,
    data: JSON.stringify(fieldsOf(text)),
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
  const ids = ["nobody", ...model.records.map(([id]) => id)];
  assert.deepEqual((await store.get(ids)).map(plain), [undefined, ...expected]);
  const gone = [...model.rows.keys()].filter((id) => !ids.includes(id));
  assert.deepEqual(
    (await store.get(gone)).map(plain),
    gone.map(() => undefined),
  );
  assert.deepEqual([...(await store.expired(100))].sort(), gone.sort());
  for (const word of words) {
    const { hits, totalCount } = await searchWords(store, [word]);
    const found = hits.map(({ record }) => record.id).sort();
    const having = model.records.filter(([, { text }]) => text.split(" ").includes(word));
    assert.deepEqual(found, having.map(([id]) => id).sort());
    assert.equal(totalCount, BigInt(having.length));
  }
  const { changes, revision } = await store.changes(0n, 1000);
  assert.equal(revision, model.revision);
  const history = [
    ...[...model.rows].map(([id, { version }]) => ({ id, revision: version, kind: "written" })),
    ...[...model.deleted].map(([id, at]) => ({ id, revision: at, kind: "deleted" })),
  ].sort((a, b) => Number(a.revision - b.revision));
  assert.deepEqual(
    changes.map(({ id, revision, kind }) => ({ id, revision, kind })),
    history,
  );
}
