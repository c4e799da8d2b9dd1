import { type DescField, type DescMessage, type Message, ScalarType } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import {
  DurationSchema,
  isWrapperDesc,
  StructSchema,
  type Timestamp,
  TimestampSchema,
} from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";

type Scalar = string | number | bigint | boolean | Uint8Array;

/** Comparisons of one value; all must hold. */
export interface Comparison<V> {
  readonly eq?: V;
  /** Also true of a record without the field. */
  readonly ne?: V;
  readonly lt?: V;
  readonly le?: V;
  readonly gt?: V;
  readonly ge?: V;
  readonly in?: readonly V[];
  readonly exists?: boolean;
}

/** What a string can be asked besides. */
export interface TextComparison {
  readonly prefix?: string;
  readonly contains?: string;
}

/** What a repeated field can be asked: whether it has an element. */
export interface ElementComparison<V> {
  readonly has?: V;
  readonly exists?: boolean;
}

/** What a map can be asked: whether it has a key. */
export interface KeyComparison {
  readonly has?: string;
  readonly exists?: boolean;
}

type FieldWhere<V> = V extends string
  ? V | (Comparison<V> & TextComparison)
  : V extends Scalar
    ? V | Comparison<V>
    : V extends Timestamp
      ? Date | Comparison<Date>
      : V extends readonly (infer E)[]
        ? E extends Scalar
          ? ElementComparison<E>
          : never
        : V extends Message
          ? Where<V>
          : V extends Readonly<Record<string, unknown>>
            ? KeyComparison
            : never;

/** How generated code has a oneof: one of its fields, or none. */
interface OneofValue {
  readonly case: string | undefined;
  readonly value?: unknown;
}

type FieldName<T> = {
  [K in keyof T]-?: K extends "$typeName" | "$unknown"
    ? never
    : T[K] extends OneofValue
      ? never
      : K;
}[keyof T];

/** The fields of the oneofs of a message. */
type OneofField<T> = Extract<
  { [K in keyof T]-?: T[K] extends OneofValue ? T[K] : never }[keyof T],
  { readonly case: string }
>;

/**
 * Conditions on the fields of a message; all must hold. A plain value means that the field equals it. The fields of
 * a oneof stand beside the others.
 */
export type Where<T> = {
  readonly [K in FieldName<T>]?: FieldWhere<NonNullable<T[K]>>;
} & {
  readonly [O in OneofField<T> as O["case"]]?: FieldWhere<O extends { value: infer V } ? V : never>;
};

type JsonOperand = string | number | bigint | boolean | Date;

/**
 * The same for a message whose type is known at run time only. Names are those of the JSON or of the proto; what
 * does not fit the type is refused by the server.
 */
export interface JsonWhere {
  readonly [field: string]:
    | JsonOperand
    | Comparison<JsonOperand>
    | TextComparison
    | ElementComparison<JsonOperand>
    | JsonWhere
    | undefined;
}

/**
 * Conditions as the server reads them, in the filter language of AIP-160.
 *
 * @throws {ClientError} FIELD_UNKNOWN for a name that the message lacks
 */
export function whereText(schema: DescMessage, where: object | string | undefined): string {
  if (where === undefined) return "";
  return typeof where === "string" ? where : termsOf(schema, where, "").join(" AND ");
}

function termsOf(desc: DescMessage, where: object, prefix: string): string[] {
  return Object.entries(where).flatMap(([name, condition]: [string, unknown]) => {
    if (condition === undefined) return [];
    if (desc.typeName === StructSchema.typeName) return keyTerms(desc, condition, prefix + name);
    const field = desc.field[name] ?? desc.fields.find((one) => isNamed(one, name));
    if (field === undefined) throw unknownField(desc, name);
    return fieldTerms(field, condition, prefix + field.name);
  });
}

function isNamed(field: DescField, name: string): boolean {
  return field.jsonName === name || field.name === name;
}

function fieldTerms(field: DescField, condition: unknown, path: string): string[] {
  if (!isComparison(condition)) return [`${path} = ${literal(field, condition)}`];
  if (field.fieldKind === "message" && isNested(field.message, condition))
    return termsOf(field.message, condition, `${path}.`);
  return operatorTerms(field, condition, path);
}

/** Conditions on the value of a key of a Struct: a comparison, or conditions on the keys below. */
function keyTerms(struct: DescMessage, condition: unknown, path: string): string[] {
  const value = struct.fields[0];
  if (value === undefined || !isComparison(condition))
    return [`${path} = ${literal(value, condition)}`];
  if (isNested(struct, condition)) return termsOf(struct, condition, `${path}.`);
  return operatorTerms(value, condition, path);
}

function operatorTerms(field: DescField, condition: object, path: string): string[] {
  return Object.entries(condition).flatMap(([operator, value]: [string, unknown]) =>
    value === undefined ? [] : [term(field, path, operator, value)],
  );
}

/** Whether conditions are on fields of `desc`, not on its value as a whole. */
function isNested(desc: DescMessage, condition: object): boolean {
  if (desc.typeName === StructSchema.typeName)
    return !Object.keys(condition).every((key) => operators.has(key));
  return !isWrapperDesc(desc) && !wholeTypes.has(desc.typeName);
}

function term(field: DescField, path: string, operator: string, value: unknown): string {
  const comparator = Object.hasOwn(comparators, operator) ? comparators[operator] : undefined;
  if (comparator !== undefined) return `${path} ${comparator} ${literal(field, value)}`;
  switch (operator) {
    case "in":
      return `in(${[path, ...asList(value).map((one) => literal(field, one))].join(", ")})`;
    case "has":
      return `${path}:${field.fieldKind === "map" ? quote(String(value)) : literal(field, value)}`;
    case "prefix":
      return `prefix(${path}, ${quote(String(value))})`;
    case "contains":
      return `substring(${path}, ${quote(String(value))})`;
    case "exists":
      return value === true ? `${path}:*` : `NOT ${path}:*`;
    default:
      throw new ClientError("ARGUMENT_INVALID", `\`${operator}\` is no comparison`, {
        code: Code.InvalidArgument,
      });
  }
}

/** Messages that are compared as a whole. */
const wholeTypes: ReadonlySet<string> = new Set([
  TimestampSchema.typeName,
  DurationSchema.typeName,
]);

const comparators: Readonly<Record<string, string>> = {
  eq: "=",
  ne: "!=",
  lt: "<",
  le: "<=",
  gt: ">",
  ge: ">=",
};

const operators: ReadonlySet<string> = new Set([
  ...Object.keys(comparators),
  "in",
  "has",
  "prefix",
  "contains",
  "exists",
]);

function literal(field: DescField | undefined, value: unknown): string {
  if (value instanceof Date) {
    return quote(value.toISOString());
  }
  if (value instanceof Uint8Array) return quote(base64Encode(value));
  if (typeof value === "string") return isInteger(field, value) ? value : quote(value);
  if (typeof value === "number" && !Number.isFinite(value)) return quote(numberName(value));
  const isText = field?.scalar === ScalarType.STRING || field?.scalar === ScalarType.BYTES;
  return isText ? quote(String(value)) : String(value);
}

/** Whether `text` is a number for an integer field, as JSON has those of 64 bits. */
function isInteger(field: DescField | undefined, text: string): boolean {
  const isText = field?.scalar === ScalarType.STRING || field?.scalar === ScalarType.BYTES;
  return field?.scalar !== undefined && !isText && /^-?\d{1,20}$/.test(text);
}

function numberName(value: number): string {
  if (Number.isNaN(value)) return "NaN";
  return value > 0 ? "Infinity" : "-Infinity";
}

/** A string of the filter language: quotes and backslashes in it are escaped. */
function quote(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isComparison(condition: unknown): condition is object {
  return (
    typeof condition === "object" &&
    condition !== null &&
    !(condition instanceof Date) &&
    !(condition instanceof Uint8Array)
  );
}

function unknownField(desc: DescMessage, name: string): ClientError {
  return new ClientError("FIELD_UNKNOWN", `${desc.typeName} has no field ${name}`, {
    code: Code.InvalidArgument,
  });
}
