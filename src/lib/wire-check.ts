import { isUtf8 } from "node:buffer";
import { type DescField, type DescMessage, fromBinary, ScalarType } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { wireTypeOf } from "./wire-type.ts";

/** Where reading is. One for all: a check is never interrupted. */
const at = { pos: 0, depth: 0 };

/** Messages in each other that are looked into here; the runtime goes to 100. */
const depthMax = 50;

/** Of fields up to number 127: above, arrays of fields become slow. */
const tagsMax = 0x400;

/** Reads one value. @returns whether it is one for sure */
type Check = (bytes: Uint8Array, end: number) => boolean;

/** The check of a field by its tag, below {@link tagsMax}. */
type Checks = (Check | undefined)[];

const compiled = new WeakMap<DescMessage, Checks>();

/**
 * Whether bytes are a message of a type, as `fromBinary` would find out, without making the message.
 *
 * @throws what `fromBinary` throws, if they are not
 */
export function checkWire(desc: DescMessage, bytes: Uint8Array): void {
  if (!isSurely(desc, bytes)) fromBinary(desc, bytes);
}

/**
 * Whether bytes are a message for sure. What is unusual, such as a field that is not known or a tag of three
 * bytes, is for the runtime to judge.
 */
export function isSurely(desc: DescMessage, bytes: Uint8Array): boolean {
  at.pos = 0;
  at.depth = 0;
  return isMessage(checksOf(desc), bytes, bytes.byteLength);
}

function checksOf(desc: DescMessage): Checks {
  const known = compiled.get(desc);
  if (known !== undefined) return known;
  const checks: Checks = [];
  // Known before its fields are: messages may contain themselves.
  compiled.set(desc, checks);
  for (const field of desc.fields) addChecks(checks, field);
  return checks;
}

function isMessage(checks: Checks, bytes: Uint8Array, end: number): boolean {
  at.depth += 1;
  if (at.depth > depthMax) return false;
  while (at.pos < end) {
    let tag = bytes[at.pos] ?? 0;
    at.pos += 1;
    if (tag >= 0x80) {
      const high = bytes[at.pos] ?? 0x80;
      at.pos += 1;
      if (high >= 0x80) return false;
      tag += (high - 1) * 0x80;
    }
    const check = checks[tag];
    if (check === undefined || !check(bytes, end)) return false;
  }
  at.depth -= 1;
  return at.pos === end;
}

function addChecks(checks: Checks, field: DescField): void {
  const { number } = field;
  const add = (wireType: number, check: Check): void => {
    const tag = number * 8 + wireType;
    if (tag < tagsMax) checks[tag] = check;
  };
  if (field.fieldKind === "map") {
    add(WireType.LengthDelimited, mapCheck(field));
    return;
  }
  if (field.message !== undefined) {
    const isGroup = "delimitedEncoding" in field && field.delimitedEncoding;
    if (!isGroup) add(WireType.LengthDelimited, nested(field.message));
    return;
  }
  const type = field.scalar ?? ScalarType.INT32;
  const wireType = wireTypeOf(type);
  const check = scalarCheck(type, "utf8Validation" in field && field.utf8Validation);
  add(wireType, check);
  if (field.fieldKind === "list" && wireType !== WireType.LengthDelimited)
    add(WireType.LengthDelimited, packed(check));
}

function mapCheck(field: DescField & { fieldKind: "map" }): Check {
  const entry: Checks = [];
  entry[8 + wireTypeOf(field.mapKey)] = scalarCheck(field.mapKey, field.utf8Validation);
  if (field.message !== undefined) entry[16 + WireType.LengthDelimited] = nested(field.message);
  else {
    const type = field.scalar ?? ScalarType.INT32;
    entry[16 + wireTypeOf(type)] = scalarCheck(type, field.utf8Validation);
  }
  return (bytes, end) => {
    const last = lastOf(bytes, end);
    return last >= 0 && isMessage(entry, bytes, last);
  };
}

function nested(desc: DescMessage): Check {
  let checks: Checks | undefined;
  return (bytes, end) => {
    checks ??= checksOf(desc);
    const last = lastOf(bytes, end);
    return last >= 0 && isMessage(checks, bytes, last);
  };
}

function packed(check: Check): Check {
  return (bytes, end) => {
    const last = lastOf(bytes, end);
    while (at.pos < last) if (!check(bytes, last)) return false;
    return last >= 0;
  };
}

function scalarCheck(type: ScalarType, isUtf8Due: boolean): Check {
  switch (wireTypeOf(type)) {
    case WireType.Varint:
      return isVarint;
    case WireType.Bit64:
      return (_bytes, end) => {
        at.pos += 8;
        return at.pos <= end;
      };
    case WireType.Bit32:
      return (_bytes, end) => {
        at.pos += 4;
        return at.pos <= end;
      };
    default:
      return type === ScalarType.STRING && isUtf8Due ? isText : isDelimited;
  }
}

function isVarint(bytes: Uint8Array, end: number): boolean {
  const last = Math.min(end, at.pos + 10);
  while (at.pos < last) {
    const byte = bytes[at.pos] ?? 0x80;
    at.pos += 1;
    if (byte < 0x80) return true;
  }
  return false;
}

function isDelimited(bytes: Uint8Array, end: number): boolean {
  const last = lastOf(bytes, end);
  at.pos = last;
  return last >= 0;
}

function isText(bytes: Uint8Array, end: number): boolean {
  const last = lastOf(bytes, end);
  if (last < 0) return false;
  const start = at.pos;
  at.pos = last;
  for (let index = start; index < last; index += 1) {
    if ((bytes[index] ?? 0x80) >= 0x80) return isUtf8(bytes.subarray(start, last));
  }
  return true;
}

/** Reads a length. @returns where what has it ends; -1 if that is behind `end`, or not to be read here */
function lastOf(bytes: Uint8Array, end: number): number {
  let length = bytes[at.pos] ?? 0x80;
  at.pos += 1;
  if (length >= 0x80) {
    length -= 0x80;
    for (let shift = 0x80; ; shift *= 0x80) {
      if (shift > 0x80 ** 3) return -1;
      const byte = bytes[at.pos] ?? 0x80;
      at.pos += 1;
      length += (byte % 0x80) * shift;
      if (byte < 0x80) break;
    }
  }
  const last = at.pos + length;
  return last <= end ? last : -1;
}
