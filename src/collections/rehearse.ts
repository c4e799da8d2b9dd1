import { CollectorError, type ErrorReason } from "../errors.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import type { RecordWrite } from "./record-requests.ts";

/** A record in the course of a rehearsal; its version is unknown once a step has changed it. */
type Rehearsed = { readonly version: bigint | undefined } | undefined;

/**
 * Refuses what the store would refuse, without writing: for requests that only ask to be checked.
 * Another write may come between this and the real one.
 *
 * @param found the records as they are now, by id.
 * @throws {CollectorError} RECORD_EXISTS, RECORD_NOT_FOUND, VERSION_MISMATCH with `subject.step`
 */
export function rehearse(
  writes: readonly RecordWrite[],
  found: ReadonlyMap<string, StoredRecord | undefined>,
): void {
  const records = new Map<string, Rehearsed>(found);
  for (const [index, write] of writes.entries()) {
    const before = records.get(write.id);
    const fault = faultOf(write, before);
    if (fault !== undefined) {
      throw new CollectorError(fault.reason, fault.message, {
        subject: { step: String(index), id: write.id },
      });
    }
    const removes = write.kind === "plain" && write.step.kind === "delete";
    records.set(write.id, removes ? undefined : { version: undefined });
  }
}

function faultOf(
  write: RecordWrite,
  record: Rehearsed,
): { reason: ErrorReason; message: string } | undefined {
  const { kind, ifVersion, mayBeMissing } = conditionsOf(write);
  if (kind === "create") {
    if (record === undefined) return undefined;
    return { reason: "RECORD_EXISTS", message: "a record with this id exists already" };
  }
  if (record === undefined) {
    if (mayBeMissing) return undefined;
    return { reason: "RECORD_NOT_FOUND", message: "there is no record with this id" };
  }
  if (ifVersion === undefined || ifVersion === record.version) return undefined;
  const version = record.version ?? "that an earlier operation gives it";
  return {
    reason: "VERSION_MISMATCH",
    message: `the record has the version ${version}, not ${ifVersion}; read it again and decide anew`,
  };
}

function conditionsOf(write: RecordWrite): {
  kind: "create" | "change";
  ifVersion: bigint | undefined;
  mayBeMissing: boolean;
} {
  if (write.kind === "masked") {
    return { kind: "change", ifVersion: write.ifVersion, mayBeMissing: write.allowMissing };
  }
  const { step } = write;
  if (step.kind !== "update" && step.kind !== "delete") {
    return { kind: "create", ifVersion: undefined, mayBeMissing: true };
  }
  return { kind: "change", ifVersion: step.ifVersion, mayBeMissing: step.allowMissing === true };
}
