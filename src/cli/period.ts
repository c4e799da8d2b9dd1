import type { Duration } from "@bufbuild/protobuf/wkt";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { usageError } from "./failure.ts";

const unitMs: Readonly<Record<string, number>> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
};

/** A long time as options give it, such as `30d`. @throws {CliError} USAGE */
export function parsePeriod(text: string, option: string): Duration {
  return durationFromMs(periodMs(text, option));
}

/** A moment: a date, with or without time, or how long ago, as in `7d`. @throws {CliError} USAGE */
export function parseMoment(text: string, option: string): Date {
  if (/^\d+[smhdw]$/.test(text)) return new Date(Date.now() - periodMs(text, option));
  const moment = /^\d{4}-\d\d-\d\d/.test(text) ? new Date(text) : new Date(Number.NaN);
  if (!Number.isNaN(moment.getTime())) return moment;
  const valid = "2026-01-31, 2026-01-31T12:00:00Z, or how long ago, as in 12h, 7d or 4w";
  throw usageError(`${option} takes a moment such as ${valid}, not \`${text}\``);
}

function periodMs(text: string, option: string): number {
  const [, digits, unit = ""] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  const ms = Number(digits) * (unitMs[unit] ?? Number.NaN);
  if (ms > 0) return ms;
  throw usageError(`${option} takes a time such as 90s, 30m, 12h, 7d or 4w, not \`${text}\``);
}

/** A count as options give it. @throws {CliError} USAGE */
export function parseCount(text: string, option: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw usageError(`${option} takes a number, not \`${text}\``);
}
