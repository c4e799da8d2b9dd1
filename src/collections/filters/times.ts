import { timestampForm } from "../derive/forms.ts";

/** A moment: whole seconds of Unix time and nanoseconds after them. */
export interface Moment {
  readonly seconds: number;
  readonly nanos: number;
}

const rfc3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?([Zz]|([+-])(\d\d):(\d\d))$/;

/** Reads RFC 3339 with any offset and up to nine digits of a second; undefined for what is none. */
export function parseMoment(text: string): Moment | undefined {
  const match = rfc3339.exec(text);
  if (match === null) return undefined;
  const [year = 0, month = 0, day = 0, hours = 0, minutes = 0, second = 0] = match
    .slice(1, 7)
    .map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  const isDate = date.getUTCMonth() === month - 1 && date.getUTCDate() === day && year > 0;
  const offsetHours = Number(match[10] ?? 0);
  const offsetMinutes = Number(match[11] ?? 0);
  if (!isDate || hours > 23 || minutes > 59 || second > 59) return undefined;
  if (offsetHours > 23 || offsetMinutes > 59) return undefined;
  const offset = (offsetHours * 60 + offsetMinutes) * 60 * (match[9] === "-" ? -1 : 1);
  const seconds = date.getTime() / 1000 + (hours * 60 + minutes) * 60 + second - offset;
  const nanos = Number((match[7] ?? "").padEnd(9, "0"));
  return timestampForm(seconds, nanos) === undefined ? undefined : { seconds, nanos };
}

/** As documents hold it. */
export function momentForm({ seconds, nanos }: Moment): string {
  return timestampForm(seconds, nanos) ?? "";
}

/** Nanoseconds of Unix time. */
export function momentNanos({ seconds, nanos }: Moment): bigint {
  return BigInt(seconds) * 1_000_000_000n + BigInt(nanos);
}

/** Nanoseconds of a duration as in `-1.5s`; undefined for what is none, or is over 292 years. */
export function parseDuration(text: string): bigint | undefined {
  const match = /^(-?)(\d{1,12})(?:\.(\d{1,9}))?s$/.exec(text);
  if (match === null) return undefined;
  const nanos = BigInt(match[2] ?? 0) * 1_000_000_000n + BigInt((match[3] ?? "").padEnd(9, "0"));
  const signed = match[1] === "-" ? -nanos : nanos;
  // Beyond 64 bits, durations are all the same to a document.
  return signed === BigInt.asIntN(64, signed) ? signed : undefined;
}
