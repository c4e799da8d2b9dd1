import { CollectorError } from "../../errors.ts";
import type { WallClock } from "./wall-clock.ts";

/** When something is due by a cron expression. */
export interface CronTimes {
  /**
   * The first minute after a moment; undefined if there is none in the next {@link yearsMax} years.
   *
   * @param clock of the time zone. What is due at a time that it leaves out is due when it is put forward, and
   * at one that it shows twice at the first of the two.
   */
  after(momentUs: bigint, clock: WallClock): bigint | undefined;
}

/** A 29th of February may be eight years away. */
const yearsMax = 8;
/** Longest expression, in characters. */
const cronCharsMax = 256;

interface Field {
  readonly name: string;
  readonly min: number;
  readonly max: number;
  /** Names of values, the first one of `min`. */
  readonly names: readonly string[];
}

const months = "jan feb mar apr may jun jul aug sep oct nov dec".split(" ");
const days = "sun mon tue wed thu fri sat".split(" ");

const fields = [
  { name: "minute", min: 0, max: 59, names: [] },
  { name: "hour", min: 0, max: 23, names: [] },
  { name: "day of month", min: 1, max: 31, names: [] },
  { name: "month", min: 1, max: 12, names: months },
  // Sunday is 0 and 7.
  { name: "day of week", min: 0, max: 7, names: days },
] as const satisfies readonly Field[];

/**
 * Reads the five fields of cron: minute, hour, day of month, month, day of week. A field is `*`, a
 * value, a range, either of the two last ones with a step, or several of these apart by commas;
 * months and days have their English names too. If both days are restricted, either will do.
 *
 * @throws {CollectorError} ARGUMENT_INVALID whose message says what is wrong, and in which field
 */
export function parseCron(expression: string): CronTimes {
  if (expression.length > cronCharsMax) {
    throw fault(`has ${expression.length} characters, the limit is ${cronCharsMax}`);
  }
  const texts = expression.split(/[ \t]+/).filter((text) => text !== "");
  if (texts.length !== fields.length) {
    const count = texts.length === 1 ? "1 field" : `${texts.length} fields`;
    throw fault(
      `has ${count}, not the five of cron: minute, hour, day of month, month, day of week, as in \`0 3 * * *\``,
    );
  }
  const [minutes, hours, dates, monthNumbers, weekdays] = fields.map((field, index) =>
    readField(texts[index] ?? "", field),
  ) as [Values, Values, Values, Values, Values];
  const isDay = (year: number, month: number, date: number): boolean => {
    const weekday = new Date(Date.UTC(year, month - 1, date)).getUTCDay();
    const isWeekday = weekdays.has(weekday) || (weekday === 0 && weekdays.has(7));
    if (texts[2] === "*" || texts[4] === "*") return dates.has(date) && isWeekday;
    return dates.has(date) || isWeekday;
  };
  const sortedHours = [...hours].sort((one, other) => one - other);
  const sortedMinutes = [...minutes].sort((one, other) => one - other);

  /** The first minute of a day that is at or after a moment. */
  const onDay = (dayMs: number, fromMs: number): number | undefined => {
    for (const hour of sortedHours) {
      for (const minute of sortedMinutes) {
        const ms = dayMs + (hour * 60 + minute) * minuteMs;
        if (ms >= fromMs) return ms;
      }
    }
    return undefined;
  };

  /** The first time at or after another, both as a clock shows them. */
  const from = (fromMs: number): number | undefined => {
    const first = new Date(fromMs);
    const firstMonth = first.getUTCFullYear() * 12 + first.getUTCMonth();
    for (let at = firstMonth; at <= firstMonth + yearsMax * 12; at += 1) {
      const [year, month] = [Math.floor(at / 12), (at % 12) + 1];
      if (!monthNumbers.has(month)) continue;
      const dateMax = new Date(Date.UTC(year, month, 0)).getUTCDate();
      for (let date = at === firstMonth ? first.getUTCDate() : 1; date <= dateMax; date += 1) {
        if (!isDay(year, month, date)) continue;
        const ms = onDay(Date.UTC(year, month - 1, date), fromMs);
        if (ms !== undefined) return ms;
      }
    }
    return undefined;
  };

  return {
    after(momentUs, clock) {
      const momentMs = Number(momentUs / 1000n);
      const nextMinute = (ms: number): number => (Math.floor(ms / minuteMs) + 1) * minuteMs;
      let wallMs = from(nextMinute(clock.wallMsOf(momentMs)));
      while (wallMs !== undefined) {
        const ms = clock.momentMsOf(wallMs);
        if (ms > momentMs) return BigInt(ms) * 1000n;
        // It was shown before the clock was put back.
        wallMs = from(nextMinute(wallMs));
      }
      return undefined;
    },
  };
}

type Values = ReadonlySet<number>;

const minuteMs = 60_000;

function readField(text: string, field: Field): Values {
  const values = new Set<number>();
  for (const part of text.split(",")) {
    const [range = "", step, ...rest] = part.split("/");
    if (part === "" || rest.length > 0) throw inField(field, text, "is malformed");
    const [from, to] = readRange(range, field, text);
    const stride = step === undefined ? 1 : Number(/^\d{1,4}$/.test(step) ? step : Number.NaN);
    if (!(stride >= 1)) {
      throw inField(field, text, `has the step \`${step}\`; a step is a number from 1`);
    }
    if (step !== undefined && range !== "*" && !range.includes("-")) {
      throw inField(
        field,
        text,
        `has a step without a range; write \`${range}-${field.max}/${step}\``,
      );
    }
    for (let value = from; value <= to; value += stride) values.add(value);
  }
  return values;
}

function readRange(range: string, field: Field, text: string): readonly [number, number] {
  // Sunday would be counted twice.
  if (range === "*") return [field.min, field.name === "day of week" ? 6 : field.max];
  const [first = "", last = first, ...rest] = range.split("-");
  if (rest.length > 0) throw inField(field, text, "is malformed");
  const from = readValue(first, field, text);
  const to = readValue(last, field, text);
  if (from > to) throw inField(field, text, `has a range that ends before it begins: \`${range}\``);
  return [from, to];
}

function readValue(value: string, field: Field, text: string): number {
  const { min, max, names } = field;
  const named = names.indexOf(value.toLowerCase());
  if (named >= 0) return min + named;
  const number = /^\d{1,4}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= min && number <= max) return number;
  const orName = names.length === 0 ? "" : ` or ${names[0]} to ${names.at(-1)}`;
  throw inField(field, text, `has \`${value}\`; valid is ${min} to ${max}${orName}`);
}

function inField({ name }: Field, text: string, problem: string): CollectorError {
  const where = fields.findIndex((field) => field.name === name) + 1;
  return fault(`field ${where} (${name}), \`${text}\`, ${problem}`);
}

function fault(problem: string): CollectorError {
  return new CollectorError("ARGUMENT_INVALID", problem);
}
