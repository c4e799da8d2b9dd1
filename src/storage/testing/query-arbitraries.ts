import fc from "fast-check";
import type { Condition, FieldStep, FieldValue, OrderKey, ValueSource } from "../record-query.ts";
import type { NaiveValue } from "./naive-query.ts";

/** The paths that stores of random documents have indexes of. */
export const indexedPaths: readonly string[] = ["n", "s", "b", "list", "any", "sub.x"];

const texts = ["", "a", "A", "ab", "b", "%", "_", "a%b", "é", "🦉", "\uffff", "x\0y", "'", '"\\'];
const integers = [0n, 1n, -1n, 2n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n - 1n, -(2n ** 63n)];
const doubles = [0.5, -0.5, 1.5, 1e300, -1e300];
const oddKeys = ["k", "a.b", 'q"', "", "[0]", "$", "é\\"];

const number: fc.Arbitrary<bigint | number> = fc.constantFrom<bigint | number>(
  ...integers,
  ...doubles,
);
const text: fc.Arbitrary<string> = fc.constantFrom(...texts);
const scalar: fc.Arbitrary<NaiveValue> = fc.oneof(number, text, fc.boolean());
const absent: fc.Arbitrary<undefined> = fc.constant(undefined);

const anyValue: fc.Arbitrary<NaiveValue> = fc.oneof(
  scalar,
  fc.constant(null),
  fc.array(fc.oneof(scalar, fc.constant(null), fc.array(scalar, { maxLength: 2 })), {
    maxLength: 3,
  }),
  fc.dictionary(fc.constantFrom(...oddKeys), scalar, { maxKeys: 2 }),
);

/** Documents: `n` a number, `s` a text, `b` a bool, `list`, `map`, `subs`, `sub`, and `any` of any kind. */
export const documents: fc.Arbitrary<NaiveValue> = fc
  .record({
    n: fc.oneof(number, absent),
    s: fc.oneof(text, absent),
    b: fc.oneof(fc.boolean(), absent),
    list: fc.oneof(fc.array(text, { minLength: 1, maxLength: 4 }), absent),
    map: fc.oneof(fc.dictionary(fc.constantFrom(...oddKeys), number, { maxKeys: 3 }), absent),
    sub: fc.oneof(fc.record({ x: fc.oneof(number, fc.constant(null)) }), absent),
    subs: fc.oneof(
      fc.array(fc.record({ x: number, tags: fc.array(text, { maxLength: 2 }) }), { maxLength: 3 }),
      absent,
    ),
    any: fc.oneof(anyValue, absent),
  })
  .map((members) =>
    Object.fromEntries(
      Object.entries(members).flatMap(([key, value]) =>
        value === undefined ? [] : [[key, value]],
      ),
    ),
  );

export const labels: fc.Arbitrary<Record<string, string>> = fc.dictionary(
  fc.constantFrom("team", ...oddKeys),
  text,
  { maxKeys: 2 },
);

const member = (name: string): FieldStep => ({ kind: "member", name });
const field = (steps: readonly FieldStep[], index?: string): ValueSource => ({
  kind: "field",
  steps,
  index,
});

const numberSource = field([member("n")], "n");
const textSource = field([member("s")], "s");
const boolSource = field([member("b")], "b");
const listSource = field([member("list"), { kind: "items" }], "list");
const subSource = field([member("sub"), member("x")], "sub.x");
const anySource = field([member("any"), { kind: "itemsOrSelf" }], "any");
const mapSource = fc.constantFrom(...oddKeys).map((key) => field([member("map"), member(key)]));
const innerSource = fc
  .constantFrom(...oddKeys)
  .map((key) =>
    field([member("any"), { kind: "itemsOrSelf" }, member(key), { kind: "itemsOrSelf" }]),
  );
const labelSource: fc.Arbitrary<ValueSource> = fc
  .constantFrom("team", ...oddKeys)
  .map((key) => ({ kind: "label", key }));
const idSource: ValueSource = { kind: "meta", name: "id" };
const versionSource: ValueSource = { kind: "meta", name: "version" };

const operators = fc.constantFrom("eq", "lt", "le", "gt", "ge" as const);

function termsOf(
  source: fc.Arbitrary<ValueSource>,
  values: fc.Arbitrary<FieldValue>,
): fc.Arbitrary<Condition> {
  return fc.oneof(
    fc.record({
      kind: fc.constant("compare" as const),
      source,
      operator: operators,
      value: values,
    }),
    fc.record({
      kind: fc.constant("in" as const),
      source,
      values: fc.array(values, { maxLength: 3 }),
    }),
    fc.record({ kind: fc.constant("exists" as const), source }),
  );
}

function textTermsOf(source: fc.Arbitrary<ValueSource>): fc.Arbitrary<Condition> {
  return fc.oneof(
    termsOf(source, text),
    fc.record({ kind: fc.constant("substring" as const), source, text }),
    fc.record({ kind: fc.constant("prefix" as const), source, text }),
  );
}

const mixed: fc.Arbitrary<FieldValue> = fc.oneof(number, text, fc.boolean());
const term: fc.Arbitrary<Condition> = fc.oneof(
  termsOf(fc.constant(numberSource), number),
  textTermsOf(fc.constant(textSource)),
  termsOf(fc.constant(boolSource), fc.boolean()),
  textTermsOf(fc.constant(listSource)),
  termsOf(fc.constant(subSource), number),
  termsOf(fc.constant(field([member("map"), { kind: "values" }])), number),
  termsOf(mapSource, number),
  termsOf(fc.constant(field([member("subs"), { kind: "items" }, member("x")])), number),
  textTermsOf(
    fc.constant(field([member("subs"), { kind: "items" }, member("tags"), { kind: "items" }])),
  ),
  termsOf(fc.constant(anySource), mixed),
  textTermsOf(fc.constant(anySource)),
  termsOf(innerSource, mixed),
  textTermsOf(labelSource),
  textTermsOf(fc.constant(idSource)),
  termsOf(fc.constant(field([member("sub")])), number),
);

/** Conditions on {@link documents}. */
export const conditions: fc.Arbitrary<Condition> = fc.letrec<{ node: Condition }>((tie) => ({
  node: fc.oneof(
    { maxDepth: 3, depthSize: "small" },
    { weight: 5, arbitrary: term },
    {
      weight: 1,
      arbitrary: fc.constantFrom({ kind: "always" }, { kind: "never" }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        kind: fc.constantFrom("and", "or"),
        conditions: fc.array(tie("node"), { maxLength: 3 }),
      }),
    },
    {
      weight: 1,
      arbitrary: fc.record({ kind: fc.constant("not" as const), condition: tie("node") }),
    },
  ),
})).node;

/** Orders of {@link documents}. */
export const orders: fc.Arbitrary<OrderKey[]> = fc.array(
  fc.record({
    source: fc.oneof(
      fc.constantFrom(numberSource, textSource, boolSource, subSource, idSource, versionSource),
      mapSource,
      labelSource,
    ),
    descending: fc.boolean(),
  }),
  { maxLength: 3 },
);
