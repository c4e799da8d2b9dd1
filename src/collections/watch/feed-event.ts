import { CollectorError } from "../../errors.ts";
import type { Change, RecordView, Write, WriteOutcome } from "../../storage/record-store.ts";

/** A record as it is told to those who watch. */
export interface ChangedRecord {
  readonly id: string;
  readonly version: bigint;
  readonly createdUs: bigint;
  readonly updatedUs: bigint;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined if the write kept the bytes and did not have them at hand. */
  readonly data: Uint8Array | undefined;
}

/** What one watch is told of one change. */
export interface FeedEvent {
  readonly kind: "created" | "updated" | "deleted" | "left";
  readonly revision: bigint;
  readonly id: string;
  /** Undefined if it is deleted. */
  readonly record: ChangedRecord | undefined;
}

/** One change that a write has made, with all that filters need to judge it. */
export interface LiveChange {
  readonly kind: "created" | "updated" | "deleted";
  readonly revision: bigint;
  readonly id: string;
  readonly record: ChangedRecord | undefined;
  /** The record before; undefined if there was none or if it is not known. */
  readonly before: RecordView | undefined;
  /** The record after; undefined if it is deleted or if it is not known. */
  readonly after: RecordView | undefined;
  /** Whether both are known, so that filters can judge. */
  readonly isKnown: boolean;
}

/** Fixed cost of an event in memory, about, in bytes. */
const eventOverheadBytes = 300;

/** What an event holds in memory, about. */
export function bytesOf({ id, record }: FeedEvent): number {
  return eventOverheadBytes + id.length + (record?.data?.byteLength ?? 0);
}

/** Changes that a write has made, in order. The last one's revision is the write's. */
export function changesOf(write: Write, { outcomes, revision: last }: WriteOutcome): LiveChange[] {
  const changed = outcomes.filter(({ change }) => change !== "none").length;
  let revision = last - BigInt(changed);
  const result: LiveChange[] = [];
  /** What earlier steps of the write have made of a record; undefined for one that is gone. */
  const made = new Map<string, RecordView | undefined>();
  for (const [index, outcome] of outcomes.entries()) {
    const { id, change } = outcome;
    const step = write.steps[index];
    if (change === "none" || step === undefined) continue;
    revision += 1n;
    const before = made.has(id) ? made.get(id) : outcome.before;
    const knowsBefore = change === "created" || before !== undefined;
    if (change === "deleted") {
      const after = undefined;
      const record = undefined;
      result.push({ kind: change, revision, id, record, before, after, isKnown: knowsBefore });
      made.set(id, undefined);
      continue;
    }
    const { version, createdUs, updatedUs, labels } = outcome;
    const content = "content" in step ? step.content : undefined;
    const document = content?.document ?? before?.document;
    const after =
      document === undefined ? undefined : { id, version, createdUs, updatedUs, labels, document };
    const record = { id, version, createdUs, updatedUs, labels, data: content?.data };
    const isKnown = knowsBefore && after !== undefined;
    result.push({ kind: change, revision, id, record, before, after, isKnown });
    if (write.steps.length > 1 && after !== undefined) made.set(id, after);
  }
  return result;
}

/**
 * The event of an entry of the history, which does not say how the record was before.
 *
 * @param since revision up to which the watch has been told everything.
 * @param matches whether the watch's filter holds for the record.
 */
export function historicEvent(change: Change, since: bigint, matches: boolean): FeedEvent {
  const { id, revision, record } = change;
  if (record === undefined) return { kind: "deleted", revision, id, record };
  if (!matches) return { kind: "left", revision, id, record };
  const kind = record.createdRevision > since ? "created" : "updated";
  return { kind, revision, id, record };
}

export function historyGone(): CollectorError {
  return new CollectorError(
    "HISTORY_GONE",
    "resume_token: the history does not reach back so far, or the data was replaced as a whole; read everything anew and watch from then on",
  );
}
