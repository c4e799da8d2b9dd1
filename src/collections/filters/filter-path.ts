import { type DescField, type DescMessage, ScalarType } from "@bufbuild/protobuf";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { FieldStep, ValueSource } from "../../storage/record-query.ts";
import { MessagePlan } from "../derive/message-plan.ts";
import { fieldByName, joinPath, splitPath } from "../path-names.ts";
import { isInRange, parseInteger } from "./integers.ts";
import type { Refuse } from "./refuse.ts";
import { fieldType, hasPresence, messageType, scalarType, type ValueType } from "./value-types.ts";

/** Most names in a path. */
export const pathNamesMax = 32;

/** Longest path, in characters. */
const pathCharsMax = 1024;

/** A field of the message that a path leads to. */
export interface FieldTarget {
  readonly kind: "field";
  /** Proto names and keys. */
  readonly names: readonly string[];
  readonly type: ValueType;
  /** Of many `type`s: a repeated field or a whole map. */
  readonly shape: "single" | "list" | "map";
  /** Of a map: the type of its keys. */
  readonly keyType: ScalarType | undefined;
  /** True if it is absent from a document while it is unset. */
  readonly hasPresence: boolean;
  /** True if a record can have several of it: the path goes through a repeated field or into JSON. */
  readonly isMany: boolean;
  /** To the field itself: to the array if it is repeated. */
  readonly steps: readonly FieldStep[];
  /** Name of the index that holds its values, or its items; undefined if there can be none. */
  readonly index: string | undefined;
}

/** What a path of a filter or an order leads to. */
export type FilterTarget =
  | FieldTarget
  | { readonly kind: "meta"; readonly name: "id" | "version" | "created" | "updated" }
  | { readonly kind: "label"; readonly key: string }
  | { readonly kind: "labels" };

const metaNames = {
  "@id": "id",
  "@version": "version",
  "@created_at": "created",
  "@updated_at": "updated",
} as const;
const metaPaths = [...Object.keys(metaNames), "@labels"];

/** Resolves a dotted path, as in `address.city`, `stock.berlin` or `@labels.team`. */
export function resolveTarget(desc: DescMessage, path: string, refuse: Refuse): FilterTarget {
  if (path.length > pathCharsMax) {
    throw refuse(
      "FIELD_UNKNOWN",
      `a path has ${path.length} characters, the limit is ${pathCharsMax}`,
    );
  }
  const names = splitPath(path);
  if (typeof names === "string") {
    throw refuse("FIELD_UNKNOWN", `unknown path ${quote(path)}: ${names}`);
  }
  return resolveNames(desc, names, refuse);
}

/** Resolves the names of a path: to what the server knows of a record, or to a field. */
export function resolveNames(
  desc: DescMessage,
  names: readonly string[],
  refuse: Refuse,
): FilterTarget {
  const [first = "", second, ...rest] = names;
  if (!first.startsWith("@")) return resolveSegments(desc, names, refuse);
  if (first === "@labels") {
    if (second === undefined) return { kind: "labels" };
    // Keys of labels often hold dots, and there is nothing below them.
    return { kind: "label", key: [second, ...rest].join(".") };
  }
  const name = Object.hasOwn(metaNames, first)
    ? metaNames[first as keyof typeof metaNames]
    : undefined;
  if (name === undefined) {
    throw refuse(
      "FIELD_UNKNOWN",
      `unknown path ${quote(joinPath(names))}: there are ${metaPaths.join(", ")}` +
        didYouMean(first, metaPaths),
    );
  }
  if (second !== undefined) {
    throw refuse(
      "FIELD_UNKNOWN",
      `unknown path ${quote(joinPath(names))}: ${first} has no fields inside`,
    );
  }
  return { kind: "meta", name };
}

/**
 * Resolves the names of a path by the message type: fields by proto or JSON name, keys after a map or
 * in JSON. After a repeated field the path goes on in each of its items.
 */
export function resolveSegments(
  desc: DescMessage,
  segments: readonly string[],
  refuse: Refuse,
): FieldTarget {
  const fail = (why: string): Error =>
    refuse("FIELD_UNKNOWN", `unknown path ${quote(joinPath(segments))}: ${why}`);
  if (segments.length > pathNamesMax) {
    throw fail(`it has ${segments.length} names, the limit is ${pathNamesMax}`);
  }
  const walk = new PathWalk(desc, fail);
  for (const segment of segments) walk.step(segment);
  return walk.target();
}

class PathWalk {
  readonly #fail: (why: string) => Error;
  readonly #steps: FieldStep[] = [];
  readonly #names: string[] = [];
  #type: ValueType;
  #shape: FieldTarget["shape"] = "single";
  #keyType: ScalarType | undefined;
  #hasPresence = true;
  #isMany = false;
  /** A document is an object; of a type whose values are none, it has one member, `value`. */
  #boxed: ValueType | undefined;

  constructor(desc: DescMessage, fail: (why: string) => Error) {
    this.#fail = fail;
    this.#type = messageType(desc);
    if (this.#type.kind === "json" || this.#type.kind === "object") {
      this.#type = { kind: "object" };
    } else if (MessagePlan.of(desc).isWellKnown && desc.typeName !== "google.protobuf.Any") {
      this.#boxed = this.#type;
    }
  }

  step(segment: string): void {
    if (this.#boxed !== undefined) this.#unbox(segment);
    else if (this.#shape === "map") this.#intoKey(segment);
    else {
      if (this.#shape === "list") {
        this.#steps.push({ kind: "items" });
        this.#isMany = true;
        this.#shape = "single";
      }
      this.#intoMember(segment);
    }
  }

  target(): FieldTarget {
    const names = this.#names;
    return {
      kind: "field",
      names,
      type: this.#type,
      shape: this.#shape,
      keyType: this.#keyType,
      hasPresence: this.#hasPresence,
      isMany: this.#isMany,
      steps: this.#steps,
      index: names.every((name) => /^[A-Za-z0-9_-]+$/.test(name)) ? names.join(".") : undefined,
    };
  }

  #unbox(segment: string): void {
    if (segment !== "value" || this.#boxed === undefined) {
      throw this.#fail("the records are single values; name them value");
    }
    this.#enter(segment, this.#boxed);
    this.#boxed = undefined;
  }

  #intoKey(segment: string): void {
    const type = this.#type;
    const key = canonicalKey(segment, this.#keyType ?? ScalarType.STRING);
    if (key === undefined) {
      throw this.#fail(`${quote(segment)} is no key of a map by ${keyLabel(this.#keyType)}`);
    }
    this.#shape = "single";
    this.#enter(key, type);
  }

  #intoMember(segment: string): void {
    const type = this.#type;
    switch (type.kind) {
      case "object":
        return this.#enter(segment, { kind: "json" });
      case "json":
        this.#steps.push({ kind: "itemsOrSelf" });
        this.#enter(segment, type);
        this.#isMany = true;
        return;
      case "message":
        if (type.desc.typeName === "google.protobuf.Any") return this.#intoAny(segment);
        return this.#intoField(type.desc, segment);
      default:
        throw this.#fail(`${quote(this.#names.at(-1) ?? "")} has no fields inside`);
    }
  }

  #intoField(desc: DescMessage, segment: string): void {
    const field: DescField | undefined = fieldByName(desc, segment);
    if (field === undefined) {
      const names = desc.fields.map((candidate) => candidate.name);
      const hint = this.#names.length === 0 ? [...names, ...metaPaths] : names;
      throw this.#fail(
        `${desc.typeName} has no field ${quote(segment)}${didYouMean(segment, hint)}`,
      );
    }
    this.#enter(field.name, fieldType(field));
    this.#hasPresence = hasPresence(field);
    if (field.fieldKind === "list") this.#shape = "list";
    if (field.fieldKind === "map") {
      this.#shape = "map";
      this.#keyType = field.mapKey;
    }
  }

  #intoAny(segment: string): void {
    if (segment !== "@type") {
      throw this.#fail(
        "what is in a google.protobuf.Any can be of any type; only its @type can be named",
      );
    }
    this.#enter(segment, scalarType(ScalarType.STRING));
  }

  #enter(name: string, type: ValueType): void {
    this.#steps.push({ kind: "member", name });
    this.#names.push(name);
    this.#type = type;
    this.#hasPresence = true;
  }
}

/** The key of a map as documents write it; undefined if it is none of that type. */
export function canonicalKey(text: string, type: ScalarType): string | undefined {
  if (type === ScalarType.STRING) return text;
  const keyType = scalarType(type);
  if (keyType.kind === "bool") return text === "true" || text === "false" ? text : undefined;
  if (keyType.kind !== "integer") return undefined;
  const value = parseInteger(text);
  return value !== undefined && isInRange(value, keyType) ? String(value) : undefined;
}

function keyLabel(type: ScalarType | undefined): string {
  const keyType = scalarType(type ?? ScalarType.STRING);
  return keyType.kind === "integer" ? keyType.name : keyType.kind;
}

/** Where the values of a target are, to compare them. */
export function valueSource(target: Exclude<FilterTarget, { kind: "labels" }>): ValueSource {
  if (target.kind === "meta") return { kind: "meta", name: target.name };
  if (target.kind === "label") return { kind: "label", key: target.key };
  const steps = [...target.steps];
  if (target.shape === "list") steps.push({ kind: "items" });
  if (target.type.kind === "json") steps.push({ kind: "itemsOrSelf" });
  return { kind: "field", steps, index: target.index };
}

/** Where a target itself is: the array of a repeated field, JSON as it stands. */
export function ownSource(target: FieldTarget): ValueSource {
  // An index of an array holds its items, and of JSON what can be compared of it.
  const isIndexed =
    target.shape === "single" && target.type.kind !== "json" && !isWhole(target.type);
  return {
    kind: "field",
    steps: target.steps,
    index: isIndexed ? target.index : undefined,
  };
}

function isWhole(type: ValueType): boolean {
  return type.kind === "message" || type.kind === "object";
}

/** How messages name a target. */
export function targetPath(target: FilterTarget): string {
  switch (target.kind) {
    case "field":
      return joinPath(target.names);
    case "label":
      return joinPath(["@labels", target.key]);
    case "labels":
      return "@labels";
    case "meta":
      return metaPaths.find((path) => Reflect.get(metaNames, path) === target.name) ?? "";
  }
}
