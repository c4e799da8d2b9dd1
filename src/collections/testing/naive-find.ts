import { type JsonValue, ScalarType, toJson } from "@bufbuild/protobuf";
import type { ReflectMessage } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence, isWrapperDesc } from "@bufbuild/protobuf/wkt";

/**
 * A model of filters and orders that is slow and plain: it reads decoded messages by reflection, and
 * shares nothing with what it is compared with but the words of docs/search.md.
 */

/** A value that can be compared; values of different kinds are never equal and never ordered. */
export type NaiveValue =
  | { readonly kind: "number"; readonly value: bigint | number }
  | { readonly kind: "text"; readonly value: string }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "bytes"; readonly value: Uint8Array }
  | { readonly kind: "time" | "duration"; readonly value: bigint };

type Node =
  | { readonly kind: "message"; readonly fields: ReadonlyMap<string, Node> }
  | { readonly kind: "list"; readonly items: readonly Node[] }
  | { readonly kind: "map"; readonly entries: ReadonlyMap<string, Node> }
  | { readonly kind: "leaf"; readonly value: NaiveValue; readonly isImplicit: boolean }
  | { readonly kind: "json"; readonly json: JsonValue };

export type NaiveFilter =
  | { readonly kind: "and" | "or"; readonly parts: readonly NaiveFilter[] }
  | { readonly kind: "not"; readonly part: NaiveFilter }
  | {
      readonly kind: "test";
      readonly path: readonly string[];
      readonly operator: NaiveOperator;
      /** None for `exists`, several for `in`; null is one. */
      readonly operands: readonly (NaiveValue | null)[];
    };

export type NaiveOperator =
  | "="
  | "!="
  | "<"
  | "<="
  | ">"
  | ">="
  | "in"
  | "contains"
  | "prefix"
  | "substring"
  | "exists"
  | "not exists";

/** A record as the model sees it. */
export class NaiveRecord {
  readonly id: string;
  readonly #root: Node;

  constructor(id: string, message: ReflectMessage) {
    this.id = id;
    this.#root = messageNode(message);
  }

  matches(filter: NaiveFilter): boolean {
    switch (filter.kind) {
      case "and":
        return filter.parts.every((part) => this.matches(part));
      case "or":
        return filter.parts.some((part) => this.matches(part));
      case "not":
        return !this.matches(filter.part);
      case "test":
        return this.#test(filter.path, filter.operator, filter.operands);
    }
  }

  /** What the record is sorted by: a number or a text; undefined if it has neither. */
  sortValue(path: readonly string[]): number | bigint | string | undefined {
    if (path.length === 1 && path[0] === "@id") return this.id;
    const value = follow(this.#root, path).flatMap(valuesOf).filter(isComparable)[0];
    if (value === undefined) return undefined;
    if (value.kind === "bool") return Number(value.value);
    return value.kind === "bytes" ? Buffer.from(value.value).toString("hex") : value.value;
  }

  #test(
    path: readonly string[],
    operator: NaiveOperator,
    operands: readonly (NaiveValue | null)[],
  ): boolean {
    const [operand = null] = operands;
    switch (operator) {
      case "exists":
        return this.#exists(path);
      case "not exists":
        return !this.#exists(path);
      case "=":
        return operand === null ? !this.#exists(path) : this.#any(path, (v) => equal(v, operand));
      case "!=":
        return !this.#test(path, "=", operands);
      case "in":
        return operands.some((each) => this.#test(path, "=", [each]));
      case "contains":
        return operand !== null && this.#contains(path, operand);
      case "prefix":
      case "substring": {
        if (operand?.kind !== "text") return false;
        const part = operand.value;
        return this.#any(path, ({ kind, value }) => {
          if (kind !== "text") return false;
          return operator === "prefix" ? value.startsWith(part) : value.includes(part);
        });
      }
      default:
        return operand !== null && this.#any(path, (v) => ordered(v, operator, operand));
    }
  }

  #any(path: readonly string[], holds: (value: NaiveValue) => boolean): boolean {
    return this.#nodes(path).flatMap(valuesOf).some(holds);
  }

  #exists(path: readonly string[]): boolean {
    return this.#nodes(path).some(isSet);
  }

  #contains(path: readonly string[], operand: NaiveValue): boolean {
    return this.#nodes(path).some((node) => {
      const holdsKey = operand.kind === "text" ? operand.value : String(operand.value);
      switch (node.kind) {
        case "map":
          return node.entries.has(holdsKey) && isSetEntry(node.entries.get(holdsKey));
        case "list":
          return node.items.flatMap(valuesOf).some((value) => equal(value, operand));
        case "leaf":
          return (
            node.value.kind === "text" &&
            operand.kind === "text" &&
            node.value.value.includes(operand.value)
          );
        case "json":
          return jsonContains(node.json, operand);
        case "message":
          return false;
      }
    });
  }

  #nodes(path: readonly string[]): Node[] {
    if (path.length === 1 && path[0] === "@id") {
      return [{ kind: "leaf", value: { kind: "text", value: this.id }, isImplicit: false }];
    }
    return follow(this.#root, path);
  }
}

/** The ids of the records that match, in order: by each key, and then as they were created. */
export function naiveList(
  records: readonly NaiveRecord[],
  filter: NaiveFilter | undefined,
  order: readonly { readonly path: readonly string[]; readonly descending: boolean }[],
): string[] {
  const found = records.filter((record) => filter === undefined || record.matches(filter));
  // Array.prototype.sort keeps the order of equals.
  found.sort((one, other) => {
    for (const { path, descending } of order) {
      const difference = compareKeys(one.sortValue(path), other.sortValue(path));
      if (difference !== 0) return descending ? -difference : difference;
    }
    return 0;
  });
  return found.map(({ id }) => id);
}

type SortKey = number | bigint | string | undefined;

/** Numbers come before texts, and both before nothing. */
function compareKeys(one: SortKey, other: SortKey): number {
  const rank = (key: SortKey): number => (key === undefined ? 2 : typeof key === "string" ? 1 : 0);
  if (rank(one) !== rank(other)) return rank(one) - rank(other);
  if (typeof one === "string" && typeof other === "string") {
    return Buffer.compare(Buffer.from(one), Buffer.from(other));
  }
  if (one === undefined || other === undefined || one === other) return 0;
  return one < other ? -1 : one > other ? 1 : 0;
}

/** The nodes that a path leads to: through each item of a list, and of an array in JSON. */
function follow(node: Node, path: readonly string[]): Node[] {
  const [name, ...rest] = path;
  if (name === undefined) return [node];
  switch (node.kind) {
    case "message":
      return [node.fields.get(name)].flatMap((child) => (child ? follow(child, rest) : []));
    case "map":
      return [node.entries.get(name)].flatMap((child) => (child ? follow(child, rest) : []));
    case "list":
      return node.items.flatMap((item) => follow(item, path));
    case "json": {
      const places = Array.isArray(node.json) ? node.json : [node.json];
      return places.flatMap((json) => {
        const member =
          typeof json === "object" &&
          json !== null &&
          !Array.isArray(json) &&
          Object.hasOwn(json, name)
            ? json[name]
            : undefined;
        return member === undefined ? [] : follow({ kind: "json", json: member }, rest);
      });
    }
    case "leaf":
      return [];
  }
}

function valuesOf(node: Node): NaiveValue[] {
  switch (node.kind) {
    case "leaf":
      return [node.value];
    case "list":
      return node.items.flatMap(valuesOf);
    case "json":
      return (Array.isArray(node.json) ? node.json : [node.json]).flatMap((json): NaiveValue[] => {
        if (typeof json === "string") return [{ kind: "text", value: json }];
        if (typeof json === "number") return [{ kind: "number", value: json }];
        return typeof json === "boolean" ? [{ kind: "bool", value: json }] : [];
      });
    default:
      return [];
  }
}

function isSet(node: Node): boolean {
  switch (node.kind) {
    case "message":
      return true;
    case "list":
      return node.items.length > 0;
    case "map":
      return node.entries.size > 0;
    case "json":
      return node.json !== null;
    case "leaf": {
      if (!isComparable(node.value)) return false;
      if (!node.isImplicit) return true;
      const { kind, value } = node.value;
      if (kind === "bytes") return value.byteLength > 0;
      return kind === "number" ? Number(value) !== 0 : value !== "" && value !== false;
    }
  }
}

function isSetEntry(node: Node | undefined): boolean {
  return node !== undefined && (node.kind !== "leaf" || isComparable(node.value));
}

/** NaN counts as nothing. */
function isComparable({ kind, value }: NaiveValue): boolean {
  return kind !== "number" || !Number.isNaN(value);
}

function jsonContains(json: JsonValue, operand: NaiveValue): boolean {
  const isText = operand.kind === "text";
  if (typeof json === "string") return isText && json.includes(operand.value);
  if (Array.isArray(json)) {
    return json.some(
      (item) =>
        valuesOf({ kind: "json", json: item }).length === 1 &&
        !Array.isArray(item) &&
        item === jsonOf(operand),
    );
  }
  if (typeof json === "object" && json !== null) {
    return isText && Object.hasOwn(json, operand.value) && json[operand.value] !== null;
  }
  return json !== null && json === jsonOf(operand);
}

function jsonOf({ kind, value }: NaiveValue): unknown {
  return kind === "number" ? Number(value) : value;
}

function equal(one: NaiveValue, other: NaiveValue): boolean {
  if (one.kind !== other.kind || !isComparable(one) || !isComparable(other)) return false;
  if (one.kind === "bool" || other.kind === "bool") return one.value === other.value;
  return differenceOf(one.value, other.value) === 0;
}

function ordered(one: NaiveValue, operator: "<" | "<=" | ">" | ">=", other: NaiveValue): boolean {
  if (one.kind !== other.kind || one.kind === "bool" || other.kind === "bool") return false;
  if (!isComparable(one) || !isComparable(other)) return false;
  const difference = differenceOf(one.value, other.value);
  switch (operator) {
    case "<":
      return difference < 0;
    case "<=":
      return difference <= 0;
    case ">":
      return difference > 0;
    case ">=":
      return difference >= 0;
  }
}

function differenceOf(
  one: Exclude<NaiveValue["value"], boolean>,
  other: Exclude<NaiveValue["value"], boolean>,
): number {
  if (typeof one === "string" || one instanceof Uint8Array) {
    const bytes = (value: typeof other): Uint8Array =>
      value instanceof Uint8Array ? value : Buffer.from(String(value));
    return Buffer.compare(bytes(one), bytes(other));
  }
  if (typeof other === "string" || other instanceof Uint8Array) return Number.NaN;
  return one < other ? -1 : one > other ? 1 : 0;
}

function messageNode(message: ReflectMessage): Node {
  const { desc } = message;
  switch (desc.typeName) {
    case "google.protobuf.Struct":
    case "google.protobuf.Value":
    case "google.protobuf.ListValue":
      return { kind: "json", json: toJson(desc, message.message) };
    case "google.protobuf.Timestamp":
    case "google.protobuf.Duration": {
      const [seconds, nanos] = desc.fields.map((field) =>
        BigInt(message.get(field) as bigint | number),
      );
      const value = (seconds ?? 0n) * 1_000_000_000n + (nanos ?? 0n);
      const kind = desc.typeName === "google.protobuf.Timestamp" ? "time" : "duration";
      return { kind: "leaf", value: { kind, value }, isImplicit: false };
    }
  }
  if (isWrapperDesc(desc)) {
    const [field] = desc.fields;
    if (field?.fieldKind === "scalar") {
      return leaf(field.scalar, message.get(field), false);
    }
  }
  const fields = new Map<string, Node>();
  for (const field of desc.fields) {
    const node = fieldNode(message, field);
    if (node !== undefined) fields.set(field.name, node);
  }
  return { kind: "message", fields };
}

function fieldNode(
  message: ReflectMessage,
  field: ReflectMessage["fields"][number],
): Node | undefined {
  if (field.fieldKind === "list") {
    const items = [...message.get(field)].map((item) => itemNode(field.scalar, item, false));
    return { kind: "list", items };
  }
  if (field.fieldKind === "map") {
    const entries = new Map<string, Node>();
    for (const [key, value] of message.get(field)) {
      entries.set(String(key), itemNode(field.scalar, value, false));
    }
    return { kind: "map", entries };
  }
  const isImplicit = field.presence === FeatureSet_FieldPresence.IMPLICIT;
  if (!isImplicit && !message.isSet(field)) return undefined;
  return itemNode(field.scalar, message.get(field), isImplicit);
}

function itemNode(scalar: ScalarType | undefined, value: unknown, isImplicit: boolean): Node {
  if (typeof value === "object" && value !== null && "desc" in value) {
    return messageNode(value as ReflectMessage);
  }
  // What is neither a scalar nor a message is the number of an enum.
  return leaf(scalar ?? ScalarType.INT32, value, isImplicit);
}

function leaf(scalar: ScalarType, value: unknown, isImplicit: boolean): Node {
  switch (typeof value) {
    case "string":
      return { kind: "leaf", value: { kind: "text", value }, isImplicit };
    case "boolean":
      return { kind: "leaf", value: { kind: "bool", value }, isImplicit };
    case "number":
    case "bigint":
      return { kind: "leaf", value: { kind: "number", value }, isImplicit };
    default:
      if (value instanceof Uint8Array) {
        return { kind: "leaf", value: { kind: "bytes", value }, isImplicit };
      }
      throw new Error(`no value of ${ScalarType[scalar]}`);
  }
}
