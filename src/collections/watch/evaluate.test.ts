import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Condition, FieldStep, FieldValue, ValueSource } from "../../storage/record-query.ts";
import type { RecordView } from "../../storage/record-store.ts";
import {
  contentOf,
  createStep,
  people,
  peopleLayout,
} from "../../storage/testing/engine-harness.ts";
import { openSqliteHarness } from "../../storage/testing/sqlite-harness.ts";
import { compareByCodePoint } from "./code-points.ts";
import { compileCondition, EvaluatedRecord } from "./evaluate.ts";

function field(...steps: readonly FieldStep[]): ValueSource {
  return { kind: "field", steps, index: undefined };
}

function member(name: string): FieldStep {
  return { kind: "member", name };
}

function viewOf(document: string, labels: Readonly<Record<string, string>> = {}): RecordView {
  return { id: "a", version: 3n, createdUs: 1n, updatedUs: 2n, labels, document };
}

function holds(condition: Condition, document: string): boolean {
  return compileCondition(condition)(new EvaluatedRecord(viewOf(document)));
}

function equals(value: FieldValue): Condition {
  return { kind: "compare", source: field(member("n")), operator: "eq", value };
}

const texts = ["", "a", "A", "ab", "\uFFFD", "\u{1F600}", "\uE000", "%", "_", "é"];
const numbers: readonly (number | bigint)[] = [
  0,
  1,
  -1,
  1.5,
  2n ** 53n + 1n,
  2n ** 63n - 1n,
  -(2n ** 63n),
  1e300,
  9007199254740992,
];

/** Values as their JSON, so that integers keep their digits. */
const scalarJson: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(...texts).map((text) => JSON.stringify(text)),
  fc.constantFrom(...numbers).map((value) => String(value)),
  fc.constantFrom("true", "false", "null"),
);
const listJson = fc.array(scalarJson, { maxLength: 3 }).map((items) => `[${items.join(",")}]`);
const mapJson = fc
  .dictionary(fc.constantFrom("x", "y"), scalarJson, { noNullPrototype: true })
  .map((map) => objectJson(Object.entries(map)));
const documentJson = fc
  .tuple(
    fc.option(scalarJson, { nil: undefined }),
    fc.option(listJson, { nil: undefined }),
    fc.option(mapJson, { nil: undefined }),
  )
  .map(([s, l, m]) =>
    objectJson(
      Object.entries({ s, l, m }).flatMap(([name, json]) =>
        json === undefined ? [] : [[name, json] as const],
      ),
    ),
  );

function objectJson(entries: readonly (readonly [string, string])[]): string {
  return `{${entries.map(([name, json]) => `${JSON.stringify(name)}:${json}`).join(",")}}`;
}

const sources: readonly ValueSource[] = [
  field(member("s")),
  field(member("l"), { kind: "items" }),
  field(member("m"), { kind: "values" }),
  field(member("m"), member("x")),
  field(member("l"), { kind: "itemsOrSelf" }),
  field(member("s"), { kind: "itemsOrSelf" }),
  { kind: "meta", name: "id" },
  { kind: "meta", name: "version" },
  { kind: "label", key: "team.a" },
];

const value: fc.Arbitrary<FieldValue> = fc.oneof(
  fc.constantFrom(...texts),
  fc.constantFrom(...numbers),
  fc.boolean(),
);
const text = fc.constantFrom(...texts);
const source = fc.constantFrom(...sources);

const { condition } = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.record({
      kind: fc.constant("compare" as const),
      source,
      operator: fc.constantFrom("eq", "lt", "le", "gt", "ge"),
      value,
    }),
    fc.record({ kind: fc.constant("in" as const), source, values: fc.array(value) }),
    fc.record({ kind: fc.constantFrom("substring", "prefix"), source, text }),
    fc.record({ kind: fc.constant("exists" as const), source }),
    fc.record({ kind: fc.constantFrom("always", "never") }),
    fc.record({ kind: fc.constant("not" as const), condition: tie("condition") }),
    fc.record({
      kind: fc.constantFrom("and", "or"),
      conditions: fc.array(tie("condition"), { minLength: 1, maxLength: 3 }),
    }),
  ),
}));

describe("compileCondition", () => {
  it("tells integers apart that a double does not", () => {
    const document = '{"n": 9007199254740993}';
    assert.ok(holds(equals(9007199254740993n), document));
    assert.ok(!holds(equals(9007199254740992n), document));
    assert.ok(!holds(equals(9007199254740992), document));
  });

  it("never takes values of two types for equal", () => {
    assert.ok(!holds(equals("1"), '{"n": 1}'));
    assert.ok(!holds(equals(1n), '{"n": true}'));
    assert.ok(!holds(equals(false), '{"n": 0}'));
    assert.ok(holds(equals(1), '{"n": 1.0}'));
  });

  it("holds for any of several values, and not where there is none", () => {
    const inList: Condition = {
      kind: "compare",
      source: field(member("n"), { kind: "items" }),
      operator: "gt",
      value: 2n,
    };
    assert.ok(holds(inList, '{"n": [1, 3]}'));
    assert.ok(!holds(inList, '{"n": []}'));
    assert.ok(holds({ kind: "not", condition: inList }, "{}"));
  });

  it("finds what lists of the storage find, for any condition and records", async () => {
    await using harness = await openSqliteHarness();
    let generation = 0n;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(documentJson, fc.option(text, { nil: undefined })), { maxLength: 8 }),
        fc.array(condition, { minLength: 1, maxLength: 8 }),
        async (documents, conditions) => {
          generation += 1n;
          const location = { ...people, generation };
          await harness.engine.create(location, peopleLayout);
          const store = harness.engine.store(location);
          const views = new Map<string, RecordView>();
          for (const [index, [document, label]] of documents.entries()) {
            const labels: Record<string, string> = label === undefined ? {} : { "team.a": label };
            const id = `${"a\u{1F600}\uFFFD"[index % 3]}${index}`.toWellFormed();
            const step = createStep(id, {}, labels);
            const content = contentOf({}, { document });
            const { outcomes } = await store.write({
              steps: [{ ...step, kind: "create", content, labels }],
            });
            const [outcome] = outcomes;
            assert.ok(outcome !== undefined);
            views.set(id, { ...outcome, document });
          }
          for (const where of conditions) {
            const { records } = await store.list({ where, limit: 100 });
            const matches = compileCondition(where);
            const expected = [...views.values()].filter((view) =>
              matches(new EvaluatedRecord(view)),
            );
            assert.deepEqual(
              expected.map(({ id }) => id),
              records.map(({ id }) => id),
            );
          }
          await harness.engine.drop(location);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe("compareByCodePoint", () => {
  it("orders as the UTF-8 of the texts does", () => {
    const unit = fc.string({ unit: "binary", maxLength: 4 }).map((made) => made.toWellFormed());
    fc.assert(
      fc.property(unit, unit, (a, b) => {
        const expected = Buffer.compare(Buffer.from(a), Buffer.from(b));
        assert.equal(Math.sign(compareByCodePoint(a, b)), expected);
      }),
    );
    assert.ok(compareByCodePoint("\u{1F600}", "\uFFFD") > 0);
  });
});
