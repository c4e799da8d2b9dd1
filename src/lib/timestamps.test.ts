import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, toJson } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { timestampOfUs } from "../collections/record-answers.ts";
import {
  isMoment,
  isMomentUs,
  timestampSecondsMax,
  timestampSecondsMin,
  timestampUsMax,
  timestampUsMin,
} from "./timestamps.ts";

function hasJson(moment: { seconds: bigint; nanos: number }): boolean {
  try {
    return toJson(TimestampSchema, create(TimestampSchema, moment)) !== null;
  } catch {
    return false;
  }
}

describe("moments", () => {
  it("are the timestamps that have a form in JSON", () => {
    for (const seconds of [timestampSecondsMin, 0n, timestampSecondsMax]) {
      for (const by of [-1n, 0n, 1n]) {
        for (const nanos of [-1, 0, 999_999_999]) {
          const moment = { seconds: seconds + by, nanos };
          assert.equal(isMoment(moment), hasJson(moment), `${moment.seconds} ${nanos}`);
        }
      }
    }
    assert.equal(isMoment({ seconds: 0n, nanos: 1_000_000_000 }), false);
  });

  it("are the same in microseconds", () => {
    for (const us of [timestampUsMin, -1n, 0n, timestampUsMax]) {
      assert.ok(isMomentUs(us) && hasJson(timestampOfUs(us)));
    }
    for (const us of [timestampUsMin - 1n, timestampUsMax + 1n]) {
      assert.ok(!isMomentUs(us) && !hasJson(timestampOfUs(us)));
    }
  });
});
