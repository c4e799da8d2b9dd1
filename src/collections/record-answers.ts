import type { Any, Timestamp } from "@bufbuild/protobuf/wkt";
import type { RecordMeta } from "../gen/collector/common_pb.ts";
import type { StepOutcome, StoredRecord } from "../storage/record-store.ts";

const microsPerSecond = 1_000_000n;

/** What the server noted on a record. Made as a literal: this is on the path of every read. */
export function recordMeta(state: Omit<StoredRecord, "data"> | StepOutcome): RecordMeta {
  return {
    $typeName: "collector.RecordMeta",
    id: state.id,
    version: String(state.version),
    createdAt: timestampOfUs(state.createdUs),
    updatedAt: timestampOfUs(state.updatedUs),
    labels: state.labels,
  };
}

/** A Timestamp of Unix time in microseconds. */
export function timestampOfUs(us: bigint): Timestamp {
  let seconds = us / microsPerSecond;
  let micros = Number(us % microsPerSecond);
  if (micros < 0) {
    seconds -= 1n;
    micros += Number(microsPerSecond);
  }
  return { $typeName: "google.protobuf.Timestamp", seconds, nanos: micros * 1000 };
}

export function anyOf(typeUrl: string, value: Uint8Array): Any {
  return { $typeName: "google.protobuf.Any", typeUrl, value };
}
