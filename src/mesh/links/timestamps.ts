import { create } from "@bufbuild/protobuf";
import { type Timestamp, TimestampSchema } from "@bufbuild/protobuf/wkt";

/** @param us Unix time in microseconds */
export function timestampOfUs(us: bigint): Timestamp {
  return create(TimestampSchema, {
    seconds: us / 1_000_000n,
    nanos: Number(us % 1_000_000n) * 1000,
  });
}
