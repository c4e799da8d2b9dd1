import type { Condition, FieldStep, OrderKey, ValueSource } from "../record-query.ts";

/** A value of a document: integers can be bigints. */
export type NaiveValue =
  | null
  | boolean
  | number
  | bigint
  | string
  | readonly NaiveValue[]
  | { readonly [key: string]: NaiveValue };

/** A record as simple as it can be. */
export interface NaiveRecord {
  readonly id: string;
  readonly seq: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly document: NaiveValue;
}

export function naiveJson(value: NaiveValue): string {
  if (typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `[${value.map(naiveJson).join(",")}]`;
  if (typeof value === "object" && value !== null) {
    const members = Object.entries(value).map(
      ([key, member]) => `${JSON.stringify(key)}:${naiveJson(member)}`,
    );
    return `{${members.join(",")}}`;
  }
  return JSON.stringify(value);
}

/** What `where` and `order` ask for, found without any cleverness. */
export function naiveList(
  records: readonly NaiveRecord[],
  where: Condition,
  order: readonly OrderKey[],
): NaiveRecord[] {
  return records
    .filter((record) => holds(where, record))
    .toSorted((a, b) => compareRecords(a, b, order));
}

export function compareRecords(a: NaiveRecord, b: NaiveRecord, order: readonly OrderKey[]): number {
  for (const { source, descending } of order) {
    const difference = compareKeys(orderKey(source, a), orderKey(source, b));
    if (difference !== 0) return descending ? -difference : difference;
  }
  return a.seq - b.seq;
}

function holds(condition: Condition, record: NaiveRecord): boolean {
  switch (condition.kind) {
    case "always":
      return true;
    case "never":
      return false;
    case "and":
      return condition.conditions.every((part) => holds(part, record));
    case "or":
      return condition.conditions.some((part) => holds(part, record));
    case "not":
      return !holds(condition.condition, record);
    default:
      return valuesAt(condition.source, record).some((value) => fulfils(condition, value));
  }
}

function fulfils(
  term: Extract<Condition, { readonly source: ValueSource }>,
  value: NaiveValue,
): boolean {
  switch (term.kind) {
    case "exists":
      return value !== null;
    case "substring":
      return typeof value === "string" && value.includes(term.text);
    case "prefix":
      return typeof value === "string" && value.startsWith(term.text);
    case "in":
      return term.values.some(
        (each) => typeOf(each) === typeOf(value) && compare(value, each) === 0,
      );
    case "compare": {
      if (typeOf(term.value) !== typeOf(value) || value === null) return false;
      const difference = compare(value, term.value);
      if (term.operator === "eq") return difference === 0;
      if (term.operator === "lt") return difference < 0;
      if (term.operator === "le") return difference <= 0;
      return term.operator === "gt" ? difference > 0 : difference >= 0;
    }
  }
}

function typeOf(value: NaiveValue): string {
  return typeof value === "bigint" ? "number" : typeof value;
}

/** Of values of the same type. */
function compare(a: NaiveValue, b: NaiveValue): number {
  if (typeof a === "string" && typeof b === "string") {
    return Buffer.compare(Buffer.from(a), Buffer.from(b));
  }
  if (a === null || b === null || typeof a === "object" || typeof b === "object") return Number.NaN;
  if (a < b) return -1;
  return a > b ? 1 : 0;
}

function orderKey(source: ValueSource, record: NaiveRecord): NaiveValue {
  const [value = null] = valuesAt(source, record).filter((each) => typeof each !== "object");
  return typeof value === "boolean" ? Number(value) : value;
}

/** Numbers, then text, then nothing. */
function compareKeys(a: NaiveValue, b: NaiveValue): number {
  const rank = (value: NaiveValue): number =>
    value === null ? 2 : Number(typeof value === "string");
  if (rank(a) !== rank(b)) return rank(a) - rank(b);
  return a === null ? 0 : compare(a, b);
}

function valuesAt(source: ValueSource, record: NaiveRecord): NaiveValue[] {
  if (source.kind === "label") {
    const label = record.labels[source.key];
    return label === undefined ? [] : [label];
  }
  if (source.kind === "meta") return [source.name === "id" ? record.id : BigInt(record.seq)];
  let values: NaiveValue[] = [record.document];
  for (const step of source.steps) values = values.flatMap((value) => stepInto(value, step));
  return values;
}

function stepInto(value: NaiveValue, step: FieldStep): NaiveValue[] {
  const isList = Array.isArray(value);
  if (step.kind === "items") return isList ? [...value] : [];
  if (step.kind === "itemsOrSelf") return isList ? [...value] : [value];
  if (isList || typeof value !== "object" || value === null) return [];
  const members = new Map(Object.entries(value));
  if (step.kind === "values") return [...members.values()];
  return members.has(step.name) ? [members.get(step.name) ?? null] : [];
}
