import { type ListValue, type Value } from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { FieldValue } from "../../storage/record-query.ts";
import { bytesForm, uint64Operand } from "../derive/forms.ts";
import { isInRange, parseInteger } from "./integers.ts";
import type { Refuse } from "./refuse.ts";
import { momentForm, parseDuration, parseMoment } from "./times.ts";
import { typeLabel, type ValueType } from "./value-types.ts";

/** A value to compare with, as it came. */
export type Operand =
  | { readonly kind: "null" }
  | { readonly kind: "bool"; readonly value: boolean }
  | { readonly kind: "number"; readonly value: number }
  /** `isQuoted` is false for a bare word of a filter text, which can be anything. */
  | { readonly kind: "text"; readonly text: string; readonly isQuoted: boolean };

/** A value as documents hold it; undefined for one that no value equals: NaN. */
export type OperandForm = FieldValue | undefined;

/**
 * Puts an operand into the form that values of this type have in documents.
 *
 * @param operand not null
 * @throws what `refuse` makes, if it is no value of the type; the message says what would be.
 */
export function operandForm(
  type: Exclude<ValueType, { kind: "message" | "object" }>,
  operand: Exclude<Operand, { kind: "null" }>,
  refuse: Refuse,
): OperandForm {
  const mismatch = (wanted: string): Error =>
    refuse("QUERY_INVALID", `${show(operand)} is no value of ${typeLabel(type)}; send ${wanted}`);
  switch (type.kind) {
    case "integer":
      return integerForm(type, operand, refuse, mismatch);
    case "number":
      return numberOperand(type, operand, refuse, mismatch);
    case "bool": {
      if (operand.kind === "bool") return operand.value;
      if (operand.kind === "text" && operand.text === "true") return true;
      if (operand.kind === "text" && operand.text === "false") return false;
      throw mismatch("true or false");
    }
    case "string":
      if (operand.kind === "text") return operand.text;
      throw mismatch("a string");
    case "bytes":
      return bytesOperand(operand, mismatch);
    case "enum":
      return enumForm(type, operand, refuse, mismatch);
    case "timestamp": {
      const moment = operand.kind === "text" ? parseMoment(operand.text) : undefined;
      if (moment !== undefined) return momentForm(moment);
      throw mismatch("RFC 3339, as in 2026-01-31T12:00:00.5Z or 2026-01-31T14:00:00+02:00");
    }
    case "duration": {
      const nanos = operand.kind === "text" ? parseDuration(operand.text) : undefined;
      if (nanos !== undefined) return nanos;
      throw mismatch("seconds, as in 1.5s, up to 292 years");
    }
    case "json":
      return jsonForm(operand);
  }
}

type Mismatch = (wanted: string) => Error;

function integerForm(
  type: Extract<ValueType, { kind: "integer" }>,
  operand: Operand,
  refuse: Refuse,
  mismatch: Mismatch,
): bigint {
  const wanted = `an integer from ${type.min} to ${type.max}`;
  const value = operandInteger(operand, refuse);
  if (value === undefined || !isInRange(value, type)) throw mismatch(wanted);
  return type.isUint64 ? uint64Operand(value) : value;
}

function operandInteger(operand: Operand, refuse: Refuse): bigint | undefined {
  if (operand.kind === "text") return parseInteger(operand.text);
  if (operand.kind !== "number" || !Number.isInteger(operand.value)) return undefined;
  if (!Number.isSafeInteger(operand.value)) {
    throw refuse(
      "QUERY_INVALID",
      `the number ${operand.value} is beyond 2^53, where numbers are not exact; send the integer as a string`,
    );
  }
  return BigInt(operand.value);
}

function numberOperand(
  { name }: Extract<ValueType, { kind: "number" }>,
  operand: Operand,
  refuse: Refuse,
  mismatch: Mismatch,
): OperandForm {
  const value =
    operand.kind === "number"
      ? operand.value
      : operand.kind === "text"
        ? parseNumber(operand.text)
        : undefined;
  if (value === undefined) throw mismatch('a number, "NaN", "Infinity" or "-Infinity"');
  // A float field holds 0.1 as the float nearest to it, and so must who looks for 0.1.
  const rounded = name === "float" ? Math.fround(value) : value;
  if (!Number.isFinite(rounded) && Number.isFinite(value)) {
    throw refuse("QUERY_INVALID", `${value} is beyond the range of a float`);
  }
  return doubleForm(rounded);
}

const numberPattern = /^-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?$/;

/** A number as JSON and protobuf write it; undefined for what is none, or is too large for a double. */
export function parseNumber(text: string): number | undefined {
  if (text === "NaN") return Number.NaN;
  if (text === "Infinity") return Number.POSITIVE_INFINITY;
  if (text === "-Infinity") return Number.NEGATIVE_INFINITY;
  if (!numberPattern.test(text)) return undefined;
  const value = Number(text);
  return Number.isFinite(value) ? value : undefined;
}

/**
 * A double as it comes back out of a document: NaN is not there, and a large whole number is the
 * integer of its shortest decimals, which is not always the double itself.
 */
export function doubleForm(value: number): OperandForm {
  if (Number.isNaN(value)) return undefined;
  if (!Number.isInteger(value) || Number.isSafeInteger(value)) return value;
  const decimals = String(value);
  if (!/^-?\d+$/.test(decimals)) return value;
  const integer = BigInt(decimals);
  return integer === BigInt.asIntN(64, integer) ? integer : value;
}

function bytesOperand(operand: Operand, mismatch: Mismatch): string {
  const text = operand.kind === "text" ? operand.text : undefined;
  const match = text === undefined ? null : /^([A-Za-z0-9+/_-]*)={0,2}$/.exec(text);
  // One letter alone over a multiple of four stands for no whole byte.
  if (match === null || (match[1] ?? "").length % 4 === 1) throw mismatch("base64");
  return bytesForm(Buffer.from(match[1] ?? "", "base64"));
}

const int32 = { min: -(2n ** 31n), max: 2n ** 31n - 1n };

function enumForm(
  { desc }: Extract<ValueType, { kind: "enum" }>,
  operand: Operand,
  refuse: Refuse,
  mismatch: Mismatch,
): bigint {
  const number = operandInteger(operand, refuse);
  if (number !== undefined && isInRange(number, int32)) return number;
  const names = desc.values.map(({ name }) => name);
  if (operand.kind === "text" && number === undefined) {
    const value = desc.values.find(({ name }) => name === operand.text);
    if (value !== undefined) return BigInt(value.number);
    throw refuse(
      "QUERY_INVALID",
      `the enum ${desc.typeName} has no value ${quote(operand.text)}` +
        (didYouMean(operand.text, names) || `; there are ${someOf(names)}`),
    );
  }
  throw mismatch(`a name or a number: ${someOf(names)}`);
}

const namesShownMax = 8;

function someOf(names: readonly string[]): string {
  const shown = names.slice(0, namesShownMax).join(", ");
  return names.length > namesShownMax ? `${shown}, …` : shown;
}

function jsonForm(operand: Exclude<Operand, { kind: "null" }>): OperandForm {
  if (operand.kind === "bool") return operand.value;
  if (operand.kind === "number") return doubleForm(operand.value);
  if (operand.isQuoted) return operand.text;
  if (operand.text === "true") return true;
  if (operand.text === "false") return false;
  const number = numberPattern.test(operand.text) ? parseNumber(operand.text) : undefined;
  return number === undefined ? operand.text : doubleForm(number);
}

/** The operand of a JSON value; undefined for a list or an object. */
export function operandOf(value: Value | undefined): Operand | undefined {
  switch (value?.kind.case) {
    case "nullValue":
      return { kind: "null" };
    case "boolValue":
      return { kind: "bool", value: value.kind.value };
    case "numberValue":
      return { kind: "number", value: value.kind.value };
    case "stringValue":
      return { kind: "text", text: value.kind.value, isQuoted: true };
    default:
      return undefined;
  }
}

/** The values of a JSON list; undefined if it is none. */
export function listOf(value: Value | undefined): ListValue["values"] | undefined {
  return value?.kind.case === "listValue" ? value.kind.value.values : undefined;
}

function show(operand: Exclude<Operand, { kind: "null" }>): string {
  if (operand.kind === "text") return quote(operand.text);
  return `the ${operand.kind === "bool" ? "bool" : "number"} ${operand.value}`;
}
