import type { JsonValue } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { type Leaf, leaves } from "./find-records.ts";
import type { NaiveFilter, NaiveOperator, NaiveValue } from "./naive-find.ts";

/** A filter for the model, and as a request can say it. */
export interface FindCase {
  readonly naive: NaiveFilter;
  readonly where: string;
}

/** One condition, also as an entry of a Struct. */
export interface TestCase extends FindCase {
  readonly path: string;
  readonly struct: { readonly operator: string; readonly value: JsonValue };
  readonly inStruct: boolean;
}

const structNames: Readonly<Record<NaiveOperator, string | undefined>> = {
  "=": "OP_EQUALS",
  "!=": "not_equals",
  "<": "LESS_THAN",
  "<=": "OP_LESS_EQUAL",
  ">": "OP_GREATER_THAN",
  ">=": "GREATER_EQUAL",
  in: "OP_IN",
  contains: "OP_CONTAINS",
  exists: "OP_EXISTS",
  "not exists": "NOT_EXISTS",
  prefix: undefined,
  substring: undefined,
};

/** A condition on a field by one of these operators, or by any that fits it. */
export function testOf({ path, literals, operators }: Leaf): fc.Arbitrary<TestCase> {
  const nullLiteral = { value: null, json: null, text: "null" };
  return fc
    .tuple(
      fc.constantFrom(...operators),
      fc.array(
        fc.oneof(
          { weight: 12, arbitrary: literals },
          { weight: 1, arbitrary: fc.constant(nullLiteral) },
        ),
        {
          minLength: 1,
          maxLength: 3,
        },
      ),
      fc.boolean(),
    )
    .filter(([operator, [first]]) => fits(operator, first?.value ?? null))
    .map(([operator, all, usesHas]) => {
      const given = operator === "in" ? all : operator.endsWith("exists") ? [] : all.slice(0, 1);
      const dotted = path.map((name) => (name.includes(".") ? `\`${name}\`` : name)).join(".");
      const inWhere = path
        .map((name) => (name.includes(".") ? JSON.stringify(name) : name))
        .join(".");
      const [first] = given;
      return {
        naive: { kind: "test", path, operator, operands: given.map(({ value }) => value) },
        path: dotted,
        where: whereText(
          inWhere,
          operator,
          given.map(({ text: written }) => written),
          usesHas,
        ),
        struct: {
          operator: structNames[operator] ?? "",
          value: operator === "in" ? given.map(({ json: value }) => value) : (first?.json ?? null),
        },
        inStruct: structNames[operator] !== undefined,
      };
    });
}

/** Whether an operator can compare with such a value at all. */
function fits(operator: NaiveOperator, value: NaiveValue | null): boolean {
  if (operator === "prefix" || operator === "substring") return value?.kind === "text";
  if (/[<>]/.test(operator)) return value !== null && value.kind !== "bool";
  return value !== null || operator !== "contains";
}

function whereText(
  path: string,
  operator: NaiveOperator,
  operands: readonly string[],
  usesHas: boolean,
): string {
  const [first = ""] = operands;
  switch (operator) {
    case "exists":
      return usesHas ? `${path}:*` : `exists(${path})`;
    case "not exists":
      return usesHas ? `-${path}:*` : `NOT exists(${path})`;
    case "in":
    case "prefix":
    case "substring":
      return `${operator}(${[path, ...operands].join(", ")})`;
    default:
      return usesHas ? `${path}${operator}${first}` : `${path} ${operator}  ${first}`;
  }
}

/** A condition on one field that a filter text can say. */
const whereTest: fc.Arbitrary<FindCase> = fc
  .constantFrom(...leaves)
  .chain(testOf)
  .filter(({ naive }) => naive.kind === "test" && naive.operator !== "contains");

/** A condition on one field that a Struct can say. */
export const structTest: fc.Arbitrary<TestCase> = fc
  .constantFrom(...leaves)
  .chain(testOf)
  .filter(({ inStruct }) => inStruct);

/** A filter text of several conditions. */
export const whereCase: fc.Arbitrary<FindCase> = fc.letrec<{ node: FindCase; composite: FindCase }>(
  (tie) => ({
    node: fc.oneof({ maxDepth: 3, withCrossShrink: true }, whereTest, tie("composite")),
    composite: fc
      .tuple(
        fc.constantFrom("and", "or", "not", "sequence", "mixed"),
        fc.array(tie("node"), { minLength: 1, maxLength: 3 }),
      )
      .map(([kind, parts]) => compose(kind, parts)),
  }),
).node;

function compose(kind: string, parts: readonly FindCase[]): FindCase {
  const naive = parts.map((part) => part.naive);
  const inside = parts.map(({ where }) => `(${where})`);
  const [first] = parts;
  switch (kind) {
    case "not":
      return {
        naive: { kind: "not", part: first?.naive ?? { kind: "and", parts: [] } },
        where: `NOT (${first?.where})`,
      };
    case "or":
      return { naive: { kind: "or", parts: naive }, where: inside.join(" OR ") };
    case "mixed": {
      // OR binds tighter than AND, so the last two are one.
      const last = naive.slice(-2);
      const before = naive.slice(0, -2);
      return {
        naive: { kind: "and", parts: [...before, { kind: "or", parts: last }] },
        where: [...inside.slice(0, -2), inside.slice(-2).join(" OR ")].join(" AND "),
      };
    }
    default:
      return {
        naive: { kind: "and", parts: naive },
        where: inside.join(kind === "and" ? " AND " : " "),
      };
  }
}

export interface OrderCase {
  readonly path: readonly string[];
  readonly descending: boolean;
}

/** Keys to sort by, and their text. */
export const orderCase: fc.Arbitrary<{
  readonly keys: readonly OrderCase[];
  readonly text: string;
}> = fc
  .uniqueArray(
    fc.record({
      path: fc.constantFrom(
        ...leaves.filter(({ isSortable }) => isSortable).map(({ path }) => path),
      ),
      descending: fc.boolean(),
    }),
    { maxLength: 3, selector: ({ path }) => path.join("/") },
  )
  .map((keys) => ({
    keys,
    text: keys
      .map(({ path, descending }) => {
        const dotted = path.map((name) => (name.includes(".") ? `\`${name}\`` : name)).join(".");
        return `${dotted}${descending ? " desc" : ""}`;
      })
      .join(", "),
  }));
