import {
  type FieldDescriptorProto,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { didYouMean } from "../../lib/suggest.ts";
import type { OptionValue } from "./option-parser.ts";
import type { SymbolTable } from "./symbols.ts";

/** The text of a default, or why there is none. */
export type DefaultResult =
  | { readonly text: string; readonly problem?: undefined }
  | { readonly problem: string };

/** The default of a field, whose type is resolved, as descriptors write it. */
export function formatDefault(
  field: FieldDescriptorProto,
  value: OptionValue,
  symbols: SymbolTable,
): DefaultResult {
  const { name, type } = field;
  if (type === Type.MESSAGE || type === Type.GROUP) {
    return { problem: `\`${name}\` is a message, which has no default` };
  }
  if (type === Type.ENUM) return enumDefault(field, value, symbols);
  if (type === Type.BOOL) {
    if (value.kind === "word" && (value.text === "true" || value.text === "false")) {
      return { text: value.text };
    }
    return { problem: `the default of \`${name}\` is true or false` };
  }
  if (type === Type.STRING || type === Type.BYTES) {
    if (value.kind !== "string") {
      return { problem: `the default of \`${name}\` is a string in quotes` };
    }
    const isText = type === Type.STRING;
    return { text: isText ? Buffer.from(value.value).toString() : escapeBytes(value.value) };
  }
  if (type === Type.DOUBLE || type === Type.FLOAT) {
    const number = toNumber(value);
    if (number === undefined) return { problem: `the default of \`${name}\` is a number` };
    return { text: formatFloat(number, type === Type.FLOAT) };
  }
  return integerDefault(field, value);
}

/** The number that a value means where a float is wanted. */
export function toNumber(value: OptionValue): number | undefined {
  if (value.kind === "integer") return Number(value.value);
  if (value.kind === "float") return value.value;
  if (value.kind !== "word") return undefined;
  if (value.text === "inf") return Number.POSITIVE_INFINITY;
  return value.text === "nan" ? Number.NaN : undefined;
}

/** The integer that a value means; minus zero is zero. */
export function toInteger(value: OptionValue): bigint | undefined {
  if (value.kind === "integer") return value.value;
  return value.kind === "float" && Object.is(value.value, -0) ? 0n : undefined;
}

const int32Range = [-(2n ** 31n), 2n ** 31n - 1n] as const;
const uint32Range = [0n, 2n ** 32n - 1n] as const;
const int64Range = [-(2n ** 63n), 2n ** 63n - 1n] as const;
const uint64Range = [0n, 2n ** 64n - 1n] as const;

/** The lowest and highest value of each integer type. */
export const integerRanges: ReadonlyMap<Type, readonly [bigint, bigint]> = new Map([
  [Type.INT32, int32Range],
  [Type.SINT32, int32Range],
  [Type.SFIXED32, int32Range],
  [Type.UINT32, uint32Range],
  [Type.FIXED32, uint32Range],
  [Type.INT64, int64Range],
  [Type.SINT64, int64Range],
  [Type.SFIXED64, int64Range],
  [Type.UINT64, uint64Range],
  [Type.FIXED64, uint64Range],
]);

function integerDefault(field: FieldDescriptorProto, value: OptionValue): DefaultResult {
  const integer = toInteger(value);
  const range = integerRanges.get(field.type);
  if (integer === undefined || range === undefined) {
    return { problem: `the default of \`${field.name}\` is an integer` };
  }
  if (integer < range[0] || integer > range[1]) {
    return { problem: `the default of \`${field.name}\` is from ${range[0]} to ${range[1]}` };
  }
  return { text: String(integer) };
}

function enumDefault(
  field: FieldDescriptorProto,
  value: OptionValue,
  symbols: SymbolTable,
): DefaultResult {
  const symbol = symbols.get(field.typeName.slice(1));
  const names = symbol?.kind === "enum" ? symbol.node.value.map(({ name }) => name) : [];
  if (value.kind !== "word") {
    return { problem: `the default of \`${field.name}\` is one of ${names.join(", ")}` };
  }
  if (names.includes(value.text)) return { text: value.text };
  const hint = didYouMean(value.text, names);
  return { problem: `\`${symbol?.name}\` has no value \`${value.text}\`${hint}` };
}

/** The shortest of C's `%g` forms that reads back as the same number. */
function formatFloat(value: number, single: boolean): string {
  if (Number.isNaN(value)) return "nan";
  const rounded = single ? Math.fround(value) : value;
  if (rounded === Number.POSITIVE_INFINITY) return "inf";
  if (rounded === Number.NEGATIVE_INFINITY) return "-inf";
  for (const digits of single ? [6, 7, 8, 9] : [15, 16, 17]) {
    const text = formatGeneral(rounded, digits);
    const back = single ? Math.fround(Number(text)) : Number(text);
    if (Object.is(back, rounded)) return text;
  }
  return String(rounded);
}

/** What `printf("%.<digits>g")` of C prints. */
function formatGeneral(value: number, digits: number): string {
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa = "", exponentText = "0"] = value.toExponential(digits - 1).split("e");
  const exponent = Number(exponentText);
  const trim = (text: string): string =>
    text.includes(".") ? text.replace(/0+$/, "").replace(/\.$/, "") : text;
  if (exponent >= -4 && exponent < digits) return trim(value.toFixed(digits - 1 - exponent));
  const sign = exponent < 0 ? "-" : "+";
  return `${trim(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

const byteEscapes: Readonly<Record<number, string>> = {
  9: "\\t",
  10: "\\n",
  13: "\\r",
  34: '\\"',
  39: "\\'",
  92: "\\\\",
};

function escapeBytes(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) {
    const escape = byteEscapes[byte];
    if (escape !== undefined) text += escape;
    else if (byte < 32 || byte > 126) text += `\\${byte.toString(8).padStart(3, "0")}`;
    else text += String.fromCharCode(byte);
  }
  return text;
}
