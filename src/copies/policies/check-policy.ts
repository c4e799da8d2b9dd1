import { type Duration, durationMs } from "@bufbuild/protobuf/wkt";
import { checkCollectionName } from "../../collections/names.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { BackupPolicy } from "../../gen/collector/backups_pb.ts";
import { checkNamespaceName, quote, systemNamespace } from "../../registry/names.ts";
import { checkNotes } from "../backup-notes.ts";
import { chainMax } from "../backup-parts.ts";
import { nextRunUs } from "./policy-schedule.ts";
import { readRetention, retentionForm, retentionKey } from "./retention-period.ts";

/** Backups in a row that may be incremental if the policy does not say. */
const fullEveryDefault = 7;

const intervalMinMs = 60_000;
/** A hundred years: what is longer is a mistake in the unit. */
const durationMaxMs = 100 * 365 * 86_400_000;

/**
 * Checks a policy as a caller gives it. Namespace and collection need not exist: a run says so if they do
 * not.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID, ARGUMENT_INVALID, with every field at fault
 */
export function checkPolicy(policy: BackupPolicy | undefined, nowUs: bigint): BackupPolicy {
  if (policy === undefined) throw invalidField("ARGUMENT_MISSING", "policy", "is not there");
  const { retention } = policy;
  refuseFaults([
    () => checkName(policy.name),
    () => checkReach(policy),
    () => checkSchedule(policy, nowUs),
    () => checkCount(retention?.keepLast ?? 0, "policy.retention.keep_last"),
    () => checkWithin(retention?.keepWithin),
    () => checkCount(retention?.keepDaily ?? 0, "policy.retention.keep_daily"),
    () => checkCount(retention?.keepWeekly ?? 0, "policy.retention.keep_weekly"),
    () => checkCount(retention?.keepMonthly ?? 0, "policy.retention.keep_monthly"),
    () => checkFullEvery(policy.fullEvery),
    () => checkNotes(policy.metadata, "policy.metadata"),
    () => checkRetentionNote(policy.metadata[retentionKey]),
  ]);
  return policy;
}

/** Incremental backups in a row, before everything is saved anew. */
export function fullEveryOf({ fullEvery }: Pick<BackupPolicy, "fullEvery">): number {
  return fullEvery === 0 ? fullEveryDefault : fullEvery;
}

function refuseFaults(checks: readonly (() => void)[]): void {
  const faults: CollectorError[] = [];
  for (const check of checks) {
    try {
      check();
    } catch (error) {
      if (!(error instanceof CollectorError)) throw error;
      faults.push(error);
    }
  }
  const [first, ...others] = faults;
  if (first === undefined) return;
  if (others.length === 0) throw first;
  throw new CollectorError(first.reason, faults.map(({ message }) => message).join("; "), {
    violations: faults.flatMap(({ violations }) => violations),
  });
}

function checkName(name: string): void {
  if (name === "") throw invalidField("ARGUMENT_MISSING", "policy.name", "names no policy");
  checkCollectionName(name, "policy.name");
}

function checkReach({ namespace, collectionName, wholeServer }: BackupPolicy): void {
  if (wholeServer && namespace + collectionName !== "") {
    throw invalid("policy.whole_server", "and namespace or collection_name exclude each other");
  }
  if (namespace === systemNamespace) {
    throw invalid("policy.namespace", "is the server's own, which is not backed up by policies");
  }
  if (namespace !== "") checkNamespaceName(namespace, "policy.namespace");
  if (collectionName !== "") checkCollectionName(collectionName, "policy.collection_name");
}

function checkSchedule(policy: BackupPolicy, nowUs: bigint): void {
  const { schedule, timeZone } = policy;
  if (timeZone !== "" && schedule.case !== "cron") {
    throw invalid("policy.time_zone", "is of no use without cron");
  }
  if (schedule.case === "interval") {
    const ms = durationMs(schedule.value);
    if (ms >= intervalMinMs && ms <= durationMaxMs) return;
    throw invalid("policy.interval", `is ${ms / 1000} s; send 60 s to 100 years`);
  }
  if (schedule.case !== "cron") return;
  if (nextRunUs(policy, nowUs) !== undefined) return;
  throw invalid("policy.cron", `${quote(schedule.value)} never comes: no month has such a day`);
}

function checkWithin(within: Duration | undefined): void {
  if (within === undefined) return;
  const ms = durationMs(within);
  if (ms >= 0 && ms <= durationMaxMs) return;
  throw invalid("policy.retention.keep_within", `is ${ms / 1000} s; send 0 s to 100 years`);
}

function checkCount(count: number, field: string): void {
  if (count < 0) throw invalid(field, `is ${count}; send how many to keep, or 0`);
}

function checkFullEvery(fullEvery: number): void {
  const max = chainMax - 1;
  if (fullEvery >= 0 && fullEvery <= max) return;
  throw invalid(
    "policy.full_every",
    `is ${fullEvery}; send 1 to ${max}, or 0 for ${fullEveryDefault}`,
  );
}

function checkRetentionNote(text: string | undefined): void {
  if (text === undefined || readRetention(text) !== undefined) return;
  const field = `policy.metadata[${quote(retentionKey)}]`;
  throw invalid(field, `is ${quote(text)}, which is no time: ${retentionForm}`);
}

function invalid(field: string, description: string): CollectorError {
  return invalidField("ARGUMENT_INVALID", field, description);
}
