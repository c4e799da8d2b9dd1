import type { BackupMetadata } from "../gen/collector/collection_repo_pb.ts";
import { usOf } from "../lib/timestamps.ts";

/** The moment that a backup is of, in microseconds of Unix time. */
export function momentUsOf({ createTime, timestamp }: BackupMetadata): bigint {
  return createTime === undefined ? timestamp * 1_000_000n : usOf(createTime);
}
