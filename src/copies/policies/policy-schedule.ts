import { durationMs } from "@bufbuild/protobuf/wkt";
import { timestampOfUs } from "../../collections/record-answers.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import { usOf } from "../../lib/timestamps.ts";
import { parseCron } from "./cron.ts";
import { wallClockOf } from "./wall-clock.ts";

/** The next run of a policy after a moment, to be put into it; empty if it is not to run by itself. */
export function nextOf(
  policy: Pick<BackupPolicy, "schedule" | "timeZone" | "suspended">,
  momentUs: bigint,
): Pick<BackupPolicy, "nextRunTime"> {
  const nextUs = policy.suspended ? undefined : nextRunUs(policy, momentUs);
  return nextUs === undefined ? {} : { nextRunTime: timestampOfUs(nextUs) };
}

/** The next run after one that began at a moment, which is later than now if the clock was ahead then. */
export function nextAfter(
  policy: Parameters<typeof nextOf>[0],
  startUs: bigint,
  nowUs: bigint,
): Pick<BackupPolicy, "nextRunTime"> {
  return nextOf(policy, startUs < nowUs ? startUs : nowUs);
}

/** True if the next run of a policy is later than it would be if the last one had been now. */
export function isPutOff(policy: BackupPolicy, nowUs: bigint): boolean {
  const { nextRunTime } = policy;
  if (nextRunTime === undefined || usOf(nextRunTime) <= nowUs) return false;
  const next = nextOf(policy, nowUs).nextRunTime;
  return next !== undefined && usOf(next) < usOf(nextRunTime);
}

/**
 * When a policy is due that was last due, or put, at a moment.
 *
 * @returns undefined if it has no schedule, or one that never comes
 * @throws {CollectorError} ARGUMENT_INVALID for a cron expression or a time zone that is none
 */
export function nextRunUs(
  { schedule, timeZone }: Pick<BackupPolicy, "schedule" | "timeZone">,
  momentUs: bigint,
): bigint | undefined {
  if (schedule.case === "interval") return momentUs + BigInt(durationMs(schedule.value)) * 1000n;
  if (schedule.case !== "cron") return undefined;
  const times = named("policy.cron", () => parseCron(schedule.value));
  const clock = named("policy.time_zone", () => wallClockOf(timeZone));
  return times.after(momentUs, clock);
}

/** Names the field that is at fault. */
function named<T>(field: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    throw invalidField("ARGUMENT_INVALID", field, error.message);
  }
}
