import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { parseCron } from "./cron.ts";
import { wallClockOf } from "./wall-clock.ts";

function next(expression: string, moment: string, zone = ""): string | undefined {
  const clock = wallClockOf(zone);
  const us = parseCron(expression).after(BigInt(Date.parse(moment)) * 1000n, clock);
  return us === undefined ? undefined : new Date(Number(us / 1000n)).toISOString();
}

describe("parseCron", () => {
  it("finds the first minute after a moment, never the moment itself", () => {
    const cases = [
      ["0 3 * * *", "2026-11-27T10:00:00.000Z", "2026-11-28T03:00:00.000Z"],
      ["0 3 * * *", "2026-11-27T03:00:00.000Z", "2026-11-28T03:00:00.000Z"],
      ["0 3 * * *", "2026-11-27T02:59:59.999Z", "2026-11-27T03:00:00.000Z"],
      ["* * * * *", "2026-12-31T23:59:00.001Z", "2027-01-01T00:00:00.000Z"],
      ["*/7 * * * *", "2026-11-27T10:56:00.000Z", "2026-11-27T11:00:00.000Z"],
      ["10-20/5,50 8 * * *", "2026-11-27T08:20:00.000Z", "2026-11-27T08:50:00.000Z"],
      ["0 3 * * mon-fri", "2026-11-27T10:00:00.000Z", "2026-11-30T03:00:00.000Z"],
      ["0 0 * * 7", "2026-11-27T10:00:00.000Z", "2026-11-29T00:00:00.000Z"],
      ["0 0 * * 5-7", "2026-11-28T10:00:00.000Z", "2026-11-29T00:00:00.000Z"],
      ["0 0 1 JAN *", "2026-11-27T10:00:00.000Z", "2027-01-01T00:00:00.000Z"],
      ["0 0 31 * *", "2026-11-27T10:00:00.000Z", "2026-12-31T00:00:00.000Z"],
      ["0 0 29 2 *", "2096-03-01T00:00:00.000Z", "2104-02-29T00:00:00.000Z"],
      ["  0\t3 * * *  ", "2026-11-27T10:00:00.000Z", "2026-11-28T03:00:00.000Z"],
    ] as const;
    for (const [expression, moment, expected] of cases) {
      assert.equal(next(expression, moment), expected, expression);
    }
  });

  it("takes either of the two days if both are restricted", () => {
    assert.equal(next("0 0 13 * fri", "2026-11-01T00:00:00.000Z"), "2026-11-06T00:00:00.000Z");
    assert.equal(next("0 0 3 * fri", "2026-11-01T00:00:00.000Z"), "2026-11-03T00:00:00.000Z");
  });

  it("says when there is no such minute", () => {
    for (const expression of ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *"]) {
      assert.equal(next(expression, "2026-11-27T10:00:00.000Z"), undefined);
    }
  });

  it("says what is wrong, and in which field", () => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ["", /has 0 fields, not the five of cron/],
      ["@daily", /has 1 field, not the five/],
      ["0 0 3 * * *", /has 6 fields/],
      ["60 * * * *", /field 1 \(minute\), `60`, has `60`; valid is 0 to 59/],
      ["0 24 * * *", /field 2 \(hour\), `24`, has `24`; valid is 0 to 23/],
      ["0 0 0 * *", /field 3 \(day of month\), `0`, has `0`; valid is 1 to 31/],
      ["0 0 * 13 *", /field 4 \(month\).*valid is 1 to 12 or jan to dec/],
      ["0 0 * * 8", /field 5 \(day of week\).*valid is 0 to 7 or sun to sat/],
      ["5-1 * * * *", /field 1 .*range that ends before it begins: `5-1`/],
      ["*/0 * * * *", /field 1 .*step `0`/],
      ["*/x * * * *", /field 1 .*step `x`/],
      ["1/2 * * * *", /field 1 .*write `1-59\/2`/],
      ["1,,2 * * * *", /field 1 .*malformed/],
      ["1-2-3 * * * *", /field 1 .*malformed/],
      ["0 * * L *", /field 4 .*`L`/],
      [`${"0,".repeat(200)}0 * * * *`, /has 409 characters, the limit is 256/],
    ];
    for (const [expression, message] of cases) {
      assert.throws(() => parseCron(expression), { reason: "ARGUMENT_INVALID", message });
    }
  });

  it("agrees with who looks at every minute", () => {
    const field = (min: number, max: number): fc.Arbitrary<{ text: string; values: number[] }> => {
      const value = fc.integer({ min, max });
      const range = fc
        .tuple(value, value, fc.integer({ min: 1, max: 9 }))
        .map(([one, other, step]) => {
          const [from, to] = one < other ? [one, other] : [other, one];
          const values = [];
          for (let at = from; at <= to; at += step) values.push(at);
          return { text: `${from}-${to}/${step}`, values };
        });
      const single = value.map((number) => ({ text: String(number), values: [number] }));
      const parts = fc.array(fc.oneof(range, single), { minLength: 1, maxLength: 3 });
      const some = parts.map((chosen) => ({
        text: chosen.map(({ text }) => text).join(","),
        values: chosen.flatMap(({ values }) => values),
      }));
      const all = Array.from({ length: max - min + 1 }, (_, index) => min + index);
      return fc.oneof(some, fc.constant({ text: "*", values: all }));
    };
    const start = fc.date({
      min: new Date("2024-01-01T00:00:00Z"),
      max: new Date("2032-01-01T00:00:00Z"),
      noInvalidDate: true,
    });
    const input = [field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 6)] as const;
    fc.assert(
      fc.property(start, ...input, (from, minute, hour, date, month, weekday) => {
        const texts = [minute, hour, date, month, weekday].map(({ text }) => text);
        const found = next(texts.join(" "), from.toISOString());
        const isEither = date.text !== "*" && weekday.text !== "*";
        const isDue = (at: Date): boolean => {
          const isDate = date.values.includes(at.getUTCDate());
          const isWeekday = weekday.values.includes(at.getUTCDay());
          return (
            minute.values.includes(at.getUTCMinutes()) &&
            hour.values.includes(at.getUTCHours()) &&
            month.values.includes(at.getUTCMonth() + 1) &&
            (isEither ? isDate || isWeekday : isDate && isWeekday)
          );
        };
        // A month of minutes is enough to look at: what is later is not due in it.
        const firstMs = (Math.floor(from.getTime() / 60_000) + 1) * 60_000;
        let expected: string | undefined;
        for (
          let ms = firstMs;
          ms < firstMs + 31 * 86_400_000 && expected === undefined;
          ms += 60_000
        ) {
          const at = new Date(ms);
          if (isDue(at)) expected = at.toISOString();
        }
        if (expected === undefined) {
          assert.ok(found === undefined || Date.parse(found) >= firstMs + 31 * 86_400_000);
        } else {
          assert.equal(found, expected);
        }
      }),
    );
  });
});
