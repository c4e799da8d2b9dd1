import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { MetadataSchema } from "../gen/collector/common_pb.ts";
import { isSound } from "./records.ts";

describe("a registration of an archive", () => {
  it("is sound if it was created at a moment that can be answered", () => {
    const sound = (seconds: bigint, nanos: number): boolean =>
      isSound({ metadata: create(MetadataSchema, { createdAt: { seconds, nanos } }) });
    assert.ok(sound(0n, 0) && sound(253_402_300_799n, 999_999_999));
    const wrong: [bigint, number][] = [
      [-1n, 0],
      [253_402_300_800n, 0],
      [1n, -1],
      [1n, 1_000_000_000],
    ];
    for (const [seconds, nanos] of wrong) assert.equal(sound(seconds, nanos), false);
    assert.equal(isSound({}), false);
  });
});
