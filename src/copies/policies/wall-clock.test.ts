import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { parseCron } from "./cron.ts";
import { wallClockOf } from "./wall-clock.ts";

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;
const dayMs = 24 * hourMs;

function next(expression: string, zone: string, moment: string | number): string | undefined {
  const ms = typeof moment === "string" ? Date.parse(moment) : moment;
  const us = parseCron(expression).after(BigInt(ms) * 1000n, wallClockOf(zone));
  return us === undefined ? undefined : new Date(Number(us / 1000n)).toISOString();
}

/** The next runs, one after the other. */
function runs(expression: string, zone: string, moment: string, count: number): string[] {
  const found: string[] = [];
  for (let at = moment; found.length < count; ) {
    at = next(expression, zone, at) ?? assert.fail("it never comes");
    found.push(at.replace(":00.000Z", "Z"));
  }
  return found;
}

describe("a cron expression in a time zone", () => {
  it("is due by the clocks there, also by halves of hours and quarters", () => {
    for (const [zone, expected] of [
      ["", "2026-11-27T03:00Z"],
      ["UTC", "2026-11-27T03:00Z"],
      ["Europe/Berlin", "2026-11-27T02:00Z"],
      ["America/New_York", "2026-11-27T08:00Z"],
      ["Asia/Kolkata", "2026-11-27T21:30Z"],
      ["Asia/Kathmandu", "2026-11-27T21:15Z"],
      ["America/St_Johns", "2026-11-27T06:30Z"],
      ["Pacific/Kiritimati", "2026-11-27T13:00Z"],
    ] as const) {
      assert.deepEqual(runs("0 3 * * *", zone, "2026-11-27T00:00:00Z", 1), [expected], zone);
    }
    // By the calendar there, too.
    assert.deepEqual(runs("30 0 1 * *", "Asia/Tokyo", "2026-11-27T00:00:00Z", 1), [
      "2026-11-30T15:30Z",
    ]);
    assert.deepEqual(runs("0 22 * * sun", "America/Los_Angeles", "2026-11-27T00:00:00Z", 1), [
      "2026-11-30T06:00Z",
    ]);
  });

  it("runs at the first moment after a time that clocks leave out", () => {
    for (const [expression, zone, from, expected] of [
      [
        "30 2 * * *",
        "Europe/Berlin",
        "2027-03-27T00:00:00Z",
        ["2027-03-27T01:30Z", "2027-03-28T01:00Z", "2027-03-29T00:30Z"],
      ],
      // All that is due in that hour is due at once, together with what is due at that moment.
      [
        "*/20 2-3 * * *",
        "Europe/Berlin",
        "2027-03-28T00:30:00Z",
        ["2027-03-28T01:00Z", "2027-03-28T01:20Z", "2027-03-28T01:40Z", "2027-03-29T00:00Z"],
      ],
      ["30 2 14 3 *", "America/New_York", "2027-01-01T00:00:00Z", ["2027-03-14T07:00Z"]],
      [
        "15 2 * * *",
        "Australia/Lord_Howe",
        "2026-10-03T00:00:00Z",
        ["2026-10-03T15:30Z", "2026-10-04T15:15Z"],
      ],
      // A day that begins at one.
      ["0 0 * * *", "America/Santiago", "2026-09-05T12:00:00Z", ["2026-09-06T04:00Z"]],
      // A day that there was not.
      ["0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", ["2011-12-30T10:00Z"]],
    ] as const) {
      assert.deepEqual(runs(expression, zone, from, expected.length), expected, expression);
    }
  });

  it("runs once at a time that clocks show twice", () => {
    for (const [expression, zone, from, expected] of [
      [
        "30 2 * * *",
        "Europe/Berlin",
        "2026-10-24T12:00:00Z",
        ["2026-10-25T00:30Z", "2026-10-26T01:30Z"],
      ],
      [
        "30 1 * * *",
        "America/St_Johns",
        "2026-10-31T12:00:00Z",
        ["2026-11-01T04:00Z", "2026-11-02T05:00Z"],
      ],
      [
        "45 1 * * *",
        "Australia/Lord_Howe",
        "2027-04-03T00:00:00Z",
        ["2027-04-03T14:45Z", "2027-04-04T15:15Z"],
      ],
      [
        "0,30 * * * *",
        "Europe/Berlin",
        "2026-10-25T00:00:00Z",
        ["2026-10-25T00:30Z", "2026-10-25T02:00Z"],
      ],
    ] as const) {
      assert.deepEqual(runs(expression, zone, from, expected.length), expected, expression);
      // Also if it is asked between the two.
      const [first, second] = expected;
      assert.equal(
        next(expression, zone, Date.parse(first) + hourMs)?.slice(0, 16),
        second?.slice(0, 16),
      );
    }
  });

  it("agrees with who looks at every minute, around the days when clocks change", () => {
    const zones = [
      "Europe/Berlin",
      "America/New_York",
      "America/St_Johns",
      "Australia/Lord_Howe",
      "Pacific/Chatham",
      "America/Santiago",
      "Africa/Casablanca",
      "Africa/Cairo",
      "Asia/Kolkata",
      "Asia/Kathmandu",
      "Pacific/Apia",
    ] as const;
    const changes = new Map(zones.map((zone) => [zone, changesOf(zone)] as const));
    const field = (min: number, max: number): fc.Arbitrary<string> => {
      const value = fc.integer({ min, max });
      const range = fc.tuple(value, value, fc.integer({ min: 1, max: 9 }));
      return fc.oneof(
        fc.constant("*"),
        value.map(String),
        range.map(([a, b, step]) => `${Math.min(a, b)}-${Math.max(a, b)}/${step}`),
      );
    };
    const fields = fc.tuple(field(0, 59), field(0, 4), field(1, 31), field(1, 12), field(0, 6));
    const property = fc.property(
      fc.constantFrom(...zones),
      fc.nat(),
      fc.integer({ min: -36 * hourMs, max: 12 * hourMs }),
      fc.oneof(
        fields.map((texts) => texts.join(" ")),
        field(0, 59).map((text) => `${text} 0-4/1 * * *`),
      ),
      (zone, pick, offsetMs, expression) => {
        const known = changes.get(zone) ?? [];
        const fromMs = (known[pick % known.length] ?? Date.UTC(2026, 6, 1)) + offsetMs;
        const expected = nextByMinutes(expression, zone, fromMs);
        const found = next(expression, zone, fromMs);
        if (expected !== undefined) assert.equal(found, new Date(expected).toISOString());
        else assert.ok(found === undefined || Date.parse(found) > fromMs + lookMs);
      },
    );
    fc.assert(property, { numRuns: 300 });
  });

  it("is refused in a zone that is none", () => {
    for (const zone of ["Mars/Olympus", "+01:00", "Europe/Berlin ", "../etc", "x".repeat(65)]) {
      assert.throws(() => wallClockOf(zone), { reason: "ARGUMENT_INVALID", message: /is none/ });
    }
  });
});

const lookMs = 2 * dayMs;

/** When the clocks of a zone change, in some years, by looking at every day and then at every minute. */
function changesOf(zone: string): number[] {
  const offsetAt = offsetsOf(zone);
  const found: number[] = [];
  for (let day = Date.UTC(2023, 0, 1); day < Date.UTC(2029, 0, 1); day += dayMs) {
    if (offsetAt(day) === offsetAt(day + dayMs)) continue;
    let ms = day;
    while (offsetAt(ms) === offsetAt(day)) ms += minuteMs;
    found.push(ms);
  }
  return found;
}

/** How far the clocks of a zone are ahead of UTC, in ms. */
function offsetsOf(zone: string): (ms: number) => number {
  const format = new Intl.DateTimeFormat("en-US", { timeZone: zone, timeZoneName: "longOffset" });
  return (ms) => {
    const name = format.formatToParts(ms).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign, hours = 0, minutes = 0] = /GMT(?:([+-])(\d\d):(\d\d))?/.exec(name) ?? [];
    const ahead = Number(hours) * hourMs + Number(minutes) * minuteMs;
    return sign === "-" ? -ahead : ahead;
  };
}

/** The next run, by looking at what a clock on the wall shows in each minute. */
function nextByMinutes(expression: string, zone: string, fromMs: number): number | undefined {
  const offsetAt = offsetsOf(zone);
  const [minute, hour, date, month, weekday] = expression.split(" ") as [
    string,
    string,
    string,
    string,
    string,
  ];
  const isDue = (wallMs: number): boolean => {
    const at = new Date(wallMs);
    const isDate = matches(date, at.getUTCDate());
    const isWeekday = matches(weekday, at.getUTCDay());
    return (
      matches(minute, at.getUTCMinutes()) &&
      matches(hour, at.getUTCHours()) &&
      matches(month, at.getUTCMonth() + 1) &&
      (date === "*" || weekday === "*" ? isDate && isWeekday : isDate || isWeekday)
    );
  };
  const floor = Math.floor(fromMs / minuteMs) * minuteMs;
  let shownMs = Number.NEGATIVE_INFINITY;
  for (let ms = floor - 3 * hourMs; ms <= floor; ms += minuteMs) {
    shownMs = Math.max(shownMs, ms + offsetAt(ms));
  }
  for (let ms = floor + minuteMs; ms <= fromMs + lookMs; ms += minuteMs) {
    for (const wallMs = ms + offsetAt(ms); shownMs < wallMs; ) {
      shownMs += minuteMs;
      if (isDue(shownMs)) return ms;
    }
  }
  return undefined;
}

/** Whether a value is among those of `*`, a number, or a range with a step. */
function matches(text: string, value: number): boolean {
  const [, first, last, step] = /^(\d+)(?:-(\d+)\/(\d+))?$/.exec(text) ?? [];
  if (first === undefined) return text === "*";
  if (last === undefined) return Number(first) === value;
  const [from, to] = [Number(first), Number(last)];
  return value >= from && value <= to && (value - from) % Number(step) === 0;
}
