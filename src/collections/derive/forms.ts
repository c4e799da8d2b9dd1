import { hash } from "node:crypto";
import { timestampSecondsMax, timestampSecondsMin } from "../../lib/timestamps.ts";

/**
 * How values of protobuf types are written in a record's document, which filters, orders and indexes
 * read. Whoever compares with a document puts the operand into the same form first.
 *
 * | type | form in the document | |
 * |---|---|---|
 * | int32, sint32, sfixed32, uint32, fixed32, int64, sint64, sfixed64 | integer, exact | |
 * | uint64, fixed64 | integer: the value less 2^63 | keeps the order within signed 64 bits |
 * | float, double | number; infinities as ±9e999; NaN as null | a float as the double it is |
 * | bool | true, false | |
 * | enum | integer, the number | names can change |
 * | string | string | |
 * | bytes | string, see {@link bytesForm} | keeps the order |
 * | Timestamp | string, see {@link timestampForm} | keeps the order |
 * | Duration | integer, nanoseconds, see {@link durationForm} | keeps the order |
 * | wrappers | as what they wrap | |
 * | Struct, Value, ListValue | as JSON | |
 * | Any | object with `@type` and the fields of its content, or `value` | |
 * | other messages | object, keys are the fields' proto names | |
 * | repeated | array; absent if empty | |
 * | map | object; absent if empty | keys as in JSON |
 *
 * A scalar without presence is always there, with its default; a field with presence that is unset
 * is absent.
 */

const two32 = 0x1_0000_0000;
const two63 = 1n << 63n;
const nanosPerSecond = 1_000_000_000n;
const int64Max = two63 - 1n;
const int64Min = -two63;

/** Longest bytes value that its form holds in full. */
export const bytesFormMax = 256;

/** An int64 given by its halves (low in 32 bits, high signed), in decimal. */
export function int64Form(low: number, high: number): string {
  // Up to 2^53 a double is exact.
  if (high >= -0x20_0000 && high < 0x20_0000) return String(high * two32 + (low >>> 0));
  return ((BigInt(high) << 32n) | BigInt(low >>> 0)).toString();
}

/** A uint64 given by its halves, less 2^63. */
export function uint64Form(low: number, high: number): string {
  return int64Form(low, high ^ 0x8000_0000);
}

/** The form of a uint64 as an operand. */
export function uint64Operand(value: bigint): bigint {
  return value - two63;
}

export function numberForm(value: number): string {
  if (Number.isFinite(value)) return String(value);
  if (Number.isNaN(value)) return "null";
  return value > 0 ? "9e999" : "-9e999";
}

/**
 * Bytes in hexadecimal. Of a value over {@link bytesFormMax} bytes, those many, then `~` and the
 * SHA-256 of the whole: equal values stay equal, and the order holds as far as the prefix.
 */
export function bytesForm(value: Uint8Array): string {
  const hex = Buffer.from(
    value.buffer,
    value.byteOffset,
    Math.min(value.byteLength, bytesFormMax),
  ).toString("hex");
  return value.byteLength <= bytesFormMax ? hex : `${hex}~${hash("sha256", value, "hex")}`;
}

const secondsMin = Number(timestampSecondsMin);
const secondsMax = Number(timestampSecondsMax);
const secondsPerDay = 86_400;
const twoDigits = Array.from({ length: 100 }, (_, value) => String(value).padStart(2, "0"));

/** Times that are written together are often of one day. */
let lastDay = 0;
let lastDate = "1970-01-01";

/**
 * RFC 3339 in UTC with nine digits of a second, so that text order is order in time; undefined for
 * what no Timestamp may hold.
 */
export function timestampForm(seconds: number, nanos: number): string | undefined {
  if (!(seconds >= secondsMin && seconds <= secondsMax)) return undefined;
  if (nanos < 0 || nanos > 999_999_999) return undefined;
  const day = Math.floor(seconds / secondsPerDay);
  if (day !== lastDay) {
    lastDate = new Date(day * secondsPerDay * 1000).toISOString().slice(0, 10);
    lastDay = day;
  }
  const second = seconds - day * secondsPerDay;
  const hours = twoDigits[Math.floor(second / 3600)];
  const minutes = twoDigits[Math.floor(second / 60) % 60];
  const fraction = nanos === 0 ? "000000000" : String(nanos).padStart(9, "0");
  return `${lastDate}T${hours}:${minutes}:${twoDigits[second % 60]}.${fraction}Z`;
}

/** Nanoseconds, clamped to 64 bits (292 years). */
export function durationForm(seconds: bigint, nanos: number): bigint {
  const total = seconds * nanosPerSecond + BigInt(nanos);
  if (total > int64Max) return int64Max;
  return total < int64Min ? int64Min : total;
}
