import type { Any, Timestamp } from "@bufbuild/protobuf/wkt";
import type { Facet, QueryPlan, SearchResult } from "../gen/collector/collection_server_pb.ts";
import type { RecordMeta } from "../gen/collector/common_pb.ts";
import type { StepOutcome } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";

export interface CreatedRecord {
  /** Empty if only checked, and no id was given. */
  readonly id: string;
  readonly meta?: RecordMeta;
}

export interface UpdatedRecord {
  readonly meta?: RecordMeta;
  readonly created: boolean;
}

export interface DeletedRecord {
  /** The record before the delete; undefined if there was none. */
  readonly meta?: RecordMeta;
}

export interface FoundRecord {
  readonly item: Any;
  readonly meta: RecordMeta;
}

export interface ListedRecords {
  readonly items: Any[];
  readonly metas: RecordMeta[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
  readonly totalCount: bigint;
  readonly totalCountCapped: boolean;
  readonly plan?: QueryPlan;
}

export interface FoundRecords {
  readonly results: SearchResult[];
  readonly totalCount: bigint;
  readonly totalCountCapped: boolean;
  readonly approximate: boolean;
  readonly facets: Facet[];
  readonly plan?: QueryPlan;
}

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
