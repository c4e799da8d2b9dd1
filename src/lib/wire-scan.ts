import { isUtf8 } from "node:buffer";
import type { WirePlan, WireRead, WireValue } from "./wire-plan.ts";

/** Where reading is. One for all: a scan is never interrupted. */
const at = { pos: 0, depth: 0 };

/** Messages in each other that are looked into here; the runtime goes to 100. */
const depthMax = 50;

/** Reads one value. @returns whether it is one for sure */
type Check = (bytes: Uint8Array, end: number) => boolean;

/** The check of a value by its tag. */
type Checks = (Check | undefined)[];

/**
 * Makes a function that says whether bytes are a message of a plan for sure. What is unusual, such as a field that is
 * not known or a tag of three bytes, is for the runtime to judge, which is not needed here.
 */
export function compileWireScan(plan: WirePlan): (bytes: Uint8Array) => boolean {
  const messages: Checks[] = plan.map(() => []);
  for (const [index, values] of plan.entries()) {
    const checks = messages[index];
    if (checks === undefined) continue;
    for (const value of values) checks[value.tag] = checkOf(value, messages);
  }
  const root = messages[0] ?? [];
  return (bytes) => {
    at.pos = 0;
    at.depth = 0;
    return isMessage(root, bytes, bytes.byteLength);
  };
}

function checkOf({ read, message, isPacked }: WireValue, messages: readonly Checks[]): Check {
  if (message !== undefined) return nested(messages[message] ?? []);
  return isPacked === true ? packed(readers[read]) : readers[read];
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

function nested(checks: Checks): Check {
  return (bytes, end) => {
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

function isVarint(bytes: Uint8Array, end: number): boolean {
  const last = Math.min(end, at.pos + 10);
  while (at.pos < last) {
    const byte = bytes[at.pos] ?? 0x80;
    at.pos += 1;
    if (byte < 0x80) return true;
  }
  return false;
}

function isBit64(_bytes: Uint8Array, end: number): boolean {
  at.pos += 8;
  return at.pos <= end;
}

function isBit32(_bytes: Uint8Array, end: number): boolean {
  at.pos += 4;
  return at.pos <= end;
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

const readers: Readonly<Record<WireRead, Check>> = {
  varint: isVarint,
  bit64: isBit64,
  bit32: isBit32,
  bytes: isDelimited,
  text: isText,
};

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
