import {
  type FieldDescriptorProto,
  FieldDescriptorProto_Label as Label,
} from "@bufbuild/protobuf/wkt";
import type { TypeEntry } from "../schema/file-index.ts";

/** The value of a field that is not set. */
export interface DefaultValue {
  /** As the file has it, or the zero value. */
  readonly text: string;
  /** Texts and bytes compare as texts, all else as numbers. */
  readonly value: string | number | bigint;
  /** `float` keeps less of a number than `double`, and all others keep all of it. */
  readonly precision: "exact" | "float" | "double";
}

/** The default of a field, or undefined if its kind has none. */
export function defaultOf(place: {
  readonly field: FieldDescriptorProto;
  readonly kind: string;
  readonly cardinality: string;
  readonly target: TypeEntry | undefined;
}): DefaultValue | undefined {
  const { field, kind, target } = place;
  if (field.label === Label.REPEATED || kind === "message" || kind === "group") return undefined;
  const text = field.defaultValue;
  if (kind === "string" || kind === "bytes") {
    return { text, value: kind === "bytes" ? unescapeBytes(text) : text, precision: "exact" };
  }
  if (kind === "enum") {
    if (target?.kind !== "enum") return undefined;
    const { value } = target.proto;
    const chosen = text === "" ? value[0] : value.find(({ name }) => name === text);
    return { text: chosen?.name ?? text, value: BigInt(chosen?.number ?? 0), precision: "exact" };
  }
  if (kind === "bool") {
    return { text: text || "false", value: text === "true" ? 1n : 0n, precision: "exact" };
  }
  if (kind === "float" || kind === "double") {
    return { text: text || "0", value: parseFloatText(text), precision: kind };
  }
  return { text: text || "0", value: parseInteger(text), precision: "exact" };
}

export function sameDefault(a: DefaultValue, b: DefaultValue): boolean {
  if (isZero(a) && isZero(b)) return true;
  if (typeof a.value === "string" || typeof b.value === "string") return a.value === b.value;
  if (a.precision === "exact" && b.precision === "exact") return a.value === b.value;
  const single = a.precision === "float" || b.precision === "float";
  const [x, y] = [Number(a.value), Number(b.value)];
  return single ? Object.is(Math.fround(x), Math.fround(y)) : Object.is(x, y);
}

function isZero({ value }: DefaultValue): boolean {
  return value === "" || value === 0n || value === 0;
}

function parseFloatText(text: string): number {
  switch (text) {
    case "inf":
      return Number.POSITIVE_INFINITY;
    case "-inf":
      return Number.NEGATIVE_INFINITY;
    default:
      return Number(text);
  }
}

/** Compilers write integers in decimal; anything else compares as it stands. */
function parseInteger(text: string): bigint | string {
  return /^-?\d*$/.test(text) && text !== "-" ? BigInt(text) : text;
}

/** Two texts of bytes may differ in how they escape. */
function unescapeBytes(text: string): string {
  const named: Readonly<Record<string, string>> = {
    n: "\n",
    r: "\r",
    t: "\t",
    a: "\u0007",
    b: "\b",
    f: "\f",
    v: "\v",
  };
  return text.replace(
    /\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|(.))/gs,
    (_, hex: string | undefined, octal: string | undefined, other: string | undefined) => {
      if (hex !== undefined) return String.fromCharCode(Number.parseInt(hex, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      return named[other ?? ""] ?? other ?? "";
    },
  );
}
