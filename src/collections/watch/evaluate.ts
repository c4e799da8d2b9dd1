import type { Condition, FieldStep, FieldValue, ValueSource } from "../../storage/record-query.ts";
import type { RecordView } from "../../storage/record-store.ts";
import { compareByCodePoint } from "./code-points.ts";

/** Says whether a condition holds for a record. */
export type Predicate = (record: EvaluatedRecord) => boolean;

/** A number of so many digits may be one that a double does not hold exactly. */
const manyDigits = /[:,[\s-]\d{16}/;

const int64Max = 2n ** 63n - 1n;
const int64Min = -(2n ** 63n);

/** A record for conditions to look at. Its document is parsed once, when the first of them asks for it. */
export class EvaluatedRecord {
  readonly #view: RecordView;
  #document: unknown;
  #isParsed = false;

  constructor(view: RecordView) {
    this.#view = view;
  }

  /** What is at a source: of a field also null, objects and arrays. */
  at(source: ValueSource): readonly unknown[] {
    switch (source.kind) {
      case "meta":
        return [this.#meta(source.name)];
      case "label": {
        const { labels } = this.#view;
        return Object.hasOwn(labels, source.key) ? [labels[source.key]] : [];
      }
      case "field":
        return followAll(this.#parsed(), source.steps);
      default:
        return source satisfies never;
    }
  }

  #meta(name: "id" | "version" | "created" | "updated"): string | bigint {
    switch (name) {
      case "id":
        return this.#view.id;
      case "version":
        return this.#view.version;
      case "created":
        return this.#view.createdUs;
      case "updated":
        return this.#view.updatedUs;
      default:
        return name satisfies never;
    }
  }

  #parsed(): unknown {
    if (!this.#isParsed) {
      this.#document = parseDocument(this.#view.document);
      this.#isParsed = true;
    }
    return this.#document;
  }
}

/** Makes a condition ready to be asked often. It holds where the storage's lists say that it holds. */
export function compileCondition(condition: Condition): Predicate {
  switch (condition.kind) {
    case "always":
      return () => true;
    case "never":
      return () => false;
    case "and": {
      const parts = condition.conditions.map(compileCondition);
      return (record) => parts.every((part) => part(record));
    }
    case "or": {
      const parts = condition.conditions.map(compileCondition);
      return (record) => parts.some((part) => part(record));
    }
    case "not": {
      const part = compileCondition(condition.condition);
      return (record) => !part(record);
    }
    case "compare": {
      const { operator, value } = condition;
      return ofAny(condition.source, (found) => {
        const order = compareValues(found, value);
        return order !== undefined && holds(operator, order);
      });
    }
    case "in": {
      const keys = new Set(condition.values.map(valueKey));
      return ofAny(condition.source, (found) => isValue(found) && keys.has(valueKey(found)));
    }
    case "substring":
      return ofAny(
        condition.source,
        (found) => typeof found === "string" && found.includes(condition.text),
      );
    case "prefix":
      return ofAny(
        condition.source,
        (found) => typeof found === "string" && found.startsWith(condition.text),
      );
    case "exists":
      return ofAny(condition.source, (found) => found !== null && found !== undefined);
    default:
      return condition satisfies never;
  }
}

/** Equal values, and only they, have equal keys of a Map: 1n and 1 are one number, "1" and true are not. */
export function valueKey(value: FieldValue): FieldValue {
  if (typeof value === "bigint") return isSafe(value) ? Number(value) : value;
  if (typeof value !== "number") return value;
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? BigInt(value) : value;
}

/** Whether conditions compare with it: null, objects and arrays are no values. */
export function isValue(found: unknown): found is FieldValue {
  switch (typeof found) {
    case "bigint":
    case "number":
    case "string":
    case "boolean":
      return true;
    default:
      return false;
  }
}

/** Reads a document with integers exact up to 64 bits: large ones are bigint. */
export function parseDocument(document: string): unknown {
  if (!manyDigits.test(document)) return JSON.parse(document);
  // The third argument is of a later standard than the types know.
  return JSON.parse(document, (_key: string, value: unknown, context?: { source?: string }) => {
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    const source = context?.source;
    if (source === undefined || !/^-?\d+$/.test(source)) return value;
    const exact = BigInt(source);
    return exact >= int64Min && exact <= int64Max ? exact : value;
  });
}

function ofAny(source: ValueSource, test: (found: unknown) => boolean): Predicate {
  return (record) => record.at(source).some(test);
}

function followAll(root: unknown, steps: readonly FieldStep[]): readonly unknown[] {
  let found: readonly unknown[] = [root];
  for (const step of steps) {
    const [only] = found;
    if (found.length === 0) return found;
    // Most paths lead to one value.
    found = found.length === 1 ? follow(only, step) : found.flatMap((value) => follow(value, step));
  }
  return found;
}

function follow(value: unknown, step: FieldStep): readonly unknown[] {
  switch (step.kind) {
    case "member":
      return isObject(value) && Object.hasOwn(value, step.name) ? [value[step.name]] : [];
    case "items":
      return Array.isArray(value) ? value : [];
    case "values":
      return isObject(value) ? Object.values(value) : [];
    case "itemsOrSelf":
      return Array.isArray(value) ? value : [value];
    default:
      return step satisfies never;
  }
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Below, at or above zero as `found` is; undefined if the two are not of one type. */
function compareValues(found: unknown, value: FieldValue): number | undefined {
  if (typeof found === "string") {
    return typeof value === "string" ? compareByCodePoint(found, value) : undefined;
  }
  if (typeof found === "boolean") {
    return typeof value === "boolean" ? Number(found) - Number(value) : undefined;
  }
  if (typeof found !== "number" && typeof found !== "bigint") return undefined;
  if (typeof value !== "number" && typeof value !== "bigint") return undefined;
  // Between a bigint and a number these are exact.
  if (found < value) return -1;
  return found > value ? 1 : 0;
}

function holds(operator: "eq" | "lt" | "le" | "gt" | "ge", order: number): boolean {
  switch (operator) {
    case "eq":
      return order === 0;
    case "lt":
      return order < 0;
    case "le":
      return order <= 0;
    case "gt":
      return order > 0;
    case "ge":
      return order >= 0;
    default:
      return operator satisfies never;
  }
}

function isSafe(value: bigint): boolean {
  return value >= BigInt(Number.MIN_SAFE_INTEGER) && value <= BigInt(Number.MAX_SAFE_INTEGER);
}
