import { CollectorError } from "../../errors.ts";

/**
 * What clocks on a wall show in a time zone. Their times are given as if they were UTC, so that arithmetic
 * and calendars are those of UTC.
 */
export interface WallClock {
  /** What the clock shows at a moment. */
  wallMsOf(ms: number): number;
  /**
   * The first moment at which the clock shows a time or has passed it. A time that it leaves out is passed
   * when it is put forward; one that it shows twice is the earlier of the two.
   */
  momentMsOf(wallMs: number): number;
}

const hourMs = 3_600_000;
const minuteMs = 60_000;

/** How far clocks are ahead of UTC and behind it, at most. */
const aheadMaxMs = 14 * hourMs;
const behindMaxMs = 12 * hourMs;

/** Names of the IANA database have no other characters; `Intl` takes offsets too, such as +01:00. */
const zonePattern = /^[A-Za-z][A-Za-z0-9_+/-]{0,63}$/;

const utc: WallClock = { wallMsOf: (ms) => ms, momentMsOf: (wallMs) => wallMs };

/**
 * @param zone a name of the IANA time zone database, as in `Europe/Berlin`; empty: UTC
 * @throws {CollectorError} ARGUMENT_INVALID for one that this server does not know
 */
export function wallClockOf(zone: string): WallClock {
  return zone === "" ? utc : new ZoneClock(formatOf(zone));
}

class ZoneClock implements WallClock {
  readonly #format: Intl.DateTimeFormat;

  constructor(format: Intl.DateTimeFormat) {
    this.#format = format;
  }

  wallMsOf(ms: number): number {
    const fields: Partial<Record<Intl.DateTimeFormatPartTypes, number>> = {};
    for (const { type, value } of this.#format.formatToParts(ms)) fields[type] = Number(value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = fields;
    return Date.UTC(year, month - 1, day, hour, minute, second) + (ms % 1000);
  }

  momentMsOf(wallMs: number): number {
    // The offsets on either side of it, which differ if the clock is put forward or back about then.
    const before = this.#offsetAt(wallMs - aheadMaxMs);
    const after = this.#offsetAt(wallMs + behindMaxMs);
    const [early, late] =
      before > after ? [wallMs - before, wallMs - after] : [wallMs - after, wallMs - before];
    const shown = [early, late].find((ms) => this.wallMsOf(ms) === wallMs);
    return shown ?? this.#firstAfter(wallMs, early, late);
  }

  /** The first minute at which the clock has passed a time that it never shows: when it is put forward. */
  #firstAfter(wallMs: number, earlyMs: number, lateMs: number): number {
    let [not, has] = [0, Math.ceil((lateMs - earlyMs) / minuteMs)];
    while (has - not > 1) {
      const middle = (not + has) >> 1;
      if (this.wallMsOf(earlyMs + middle * minuteMs) > wallMs) has = middle;
      else not = middle;
    }
    return earlyMs + has * minuteMs;
  }

  #offsetAt(ms: number): number {
    return this.wallMsOf(ms) - ms;
  }
}

function formatOf(timeZone: string): Intl.DateTimeFormat {
  try {
    if (!zonePattern.test(timeZone)) throw new RangeError("not a name of a time zone");
    return new Intl.DateTimeFormat("en-US", {
      timeZone,
      calendar: "iso8601",
      hourCycle: "h23",
      year: "numeric",
      month: "numeric",
      day: "numeric",
      hour: "numeric",
      minute: "numeric",
      second: "numeric",
    });
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    const problem = "is none that this server knows; send a name such as Europe/Berlin";
    throw new CollectorError("ARGUMENT_INVALID", problem, { cause });
  }
}
