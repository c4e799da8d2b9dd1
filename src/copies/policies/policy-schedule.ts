import { durationMs } from "@bufbuild/protobuf/wkt";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import { parseCron } from "./cron.ts";

/** The next run of a policy after a moment, to be put into it; empty if it is not to run by itself. */
export function nextOf(
  policy: Pick<BackupPolicy, "schedule" | "suspended">,
  momentUs: bigint,
): Pick<BackupPolicy, "nextRunTime"> {
  const nextUs = policy.suspended ? undefined : nextRunUs(policy, momentUs);
  return nextUs === undefined ? {} : { nextRunTime: timestampOfUs(nextUs) };
}

/**
 * When a policy is due that was last due, or put, at a moment.
 *
 * @returns undefined if it has no schedule, or one that never comes
 * @throws {CollectorError} ARGUMENT_INVALID for a cron expression that is none
 */
export function nextRunUs(
  { schedule }: Pick<BackupPolicy, "schedule">,
  momentUs: bigint,
): bigint | undefined {
  if (schedule.case === "interval") return momentUs + BigInt(durationMs(schedule.value)) * 1000n;
  if (schedule.case !== "cron") return undefined;
  try {
    return parseCron(schedule.value).after(momentUs);
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    throw invalidField("ARGUMENT_INVALID", "policy.cron", error.message);
  }
}
