import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { parseCount, parseMoment, parsePeriod } from "./period.ts";

describe("periods on the command line", () => {
  it("are a number and a unit", () => {
    assert.equal(durationMs(parsePeriod("90s", "--every")), 90_000);
    assert.equal(durationMs(parsePeriod("6h", "--every")), 21_600_000);
    assert.equal(durationMs(parsePeriod("4w", "--every")), 2_419_200_000);
    for (const text of ["", "6", "h", "0d", "-1d", "1.5h", "6 h", "1000000000s"]) {
      assert.throws(() => parsePeriod(text, "--every"), /--every takes a time such as/);
    }
  });

  it("count back from now as moments, which may be dates too", () => {
    const moment = parseMoment("7d", "--since").getTime();
    const ago = Date.now() - moment;
    assert.ok(ago >= 604_800_000 && ago < 604_900_000);
    assert.equal(parseMoment("2026-01-31", "--since").toISOString(), "2026-01-31T00:00:00.000Z");
    for (const text of ["", "yesterday", "2026", "2026-13-01", "7"]) {
      assert.throws(() => parseMoment(text, "--since"), /--since takes a moment such as/);
    }
  });

  it("are no counts", () => {
    assert.equal(parseCount("12", "--keep-last"), 12);
    assert.throws(() => parseCount("12d", "--keep-last"), /--keep-last takes a number/);
  });
});
