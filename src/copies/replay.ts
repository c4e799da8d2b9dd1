import { readChanges } from "../archive/change-stream.ts";
import { DerivePlan } from "../collections/derive/derive-plan.ts";
import { faultOfVector } from "../collections/derive/vector-values.ts";
import { expirySourceOf } from "../collections/expiry-definition.ts";
import { checkLabels, checkRecordId } from "../collections/names.ts";
import { vectorPathsOf } from "../collections/vector-definition.ts";
import { CollectorError } from "../errors.ts";
import type { ArchiveChange_File, ArchiveChange_Written } from "../gen/collector/archive_pb.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { isMomentUs } from "../lib/timestamps.ts";
import type { RecordStore, WriteStep } from "../storage/record-store.ts";
import type { StoredFile } from "../storage/store-files.ts";
import { invalidArchive } from "./archive-failures.ts";
import type { ArchivedTypes } from "./schema-install.ts";

const batchStepsMax = 256;
const batchBytesMax = 1024 * 1024;
const filesMax = 2_000_000;

export interface ReplayOptions {
  readonly store: RecordStore;
  /** Path of part `changes`. */
  readonly changes: string;
  readonly definition: Collection;
  readonly types: ArchivedTypes;
  readonly limits: Limits;
  /** Of the store, before and after. */
  readonly from: bigint;
  readonly to: bigint;
  /** Where contents are that came along; undefined: names of files are left as they are none. */
  readonly contentOf: ((sha256: string) => string | undefined) | undefined;
  readonly signal: AbortSignal;
}

/**
 * Applies changes to a store that nobody else writes to.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, DISK_FULL, CANCELLED. The store is of no use then.
 */
export async function replayChanges(options: ReplayOptions): Promise<void> {
  const { store, definition, types, limits, signal } = options;
  const plan = new DerivePlan({
    desc: types.desc,
    types: types.types,
    shape: await store.shape(),
    limits,
    vectorPaths: vectorPathsOf(definition),
    expiry: expirySourceOf(definition),
  });
  const files: StoredFile[] = [];
  let revision = options.from;
  let steps: WriteStep[] = [];
  let bytes = 0;
  const flush = async (): Promise<void> => {
    if (steps.length > 0) await store.write({ steps });
    steps = [];
    bytes = 0;
  };
  try {
    for await (const { entry } of readChanges(options.changes, {
      signal,
      changeBytesMax: 4 * limits.messageBytesMax,
    })) {
      if (entry.case === undefined) continue;
      if (entry.case === "file") {
        if (files.length === filesMax) throw invalidArchive(`it has over ${filesMax} files`);
        files.push(fileOf(entry.value));
        continue;
      }
      if (entry.value.revision <= revision || entry.value.revision > options.to) {
        throw invalidArchive("its changes are not in the order of their revisions");
      }
      ({ revision } = entry.value);
      checkRecordId(entry.value.id, limits);
      const of = `record ${entry.value.id}`;
      if (entry.case === "deleted") {
        const { id, atUs } = entry.value;
        checkMoments(of, { at_us: atUs });
        steps.push({ kind: "replayDelete", id, revision, atUs });
      } else {
        const { createdUs, updatedUs } = entry.value;
        checkMoments(of, { created_us: createdUs, updated_us: updatedUs });
        steps.push(replayStep(entry.value, plan, limits));
        bytes += entry.value.data.length;
      }
      if (steps.length < batchStepsMax && bytes < batchBytesMax) continue;
      await flush();
      signal.throwIfAborted();
    }
    await flush();
    if (revision !== options.to)
      throw invalidArchive("it lacks changes that its manifest tells of");
    const { contentOf } = options;
    await store.files.replaceAll(contentOf === undefined ? [] : files, contentOf ?? nowhere);
  } catch (error) {
    throw replayFailure(error);
  }
}

function nowhere(): undefined {
  return undefined;
}

function replayStep(written: ArchiveChange_Written, plan: DerivePlan, limits: Limits): WriteStep {
  const { id, data, labels, revision, createdRevision, createdUs, updatedUs } = written;
  if (createdRevision <= 0n || createdRevision > revision) {
    throw invalidArchive("a record is older than its first revision");
  }
  checkLabels(labels, limits);
  const vectors = new Map<string, Float32Array>();
  for (const [name, { values }] of Object.entries(written.vectors)) {
    const definition = plan.vectorsBeside.find((candidate) => candidate.name === name);
    if (definition === undefined) continue;
    const vector = Float32Array.from(values);
    const fault = faultOfVector(vector, definition);
    if (fault !== undefined) throw invalidArchive(`a vector ${fault}`);
    vectors.set(name, vector);
  }
  const content = plan.derive(data, { writtenUs: updatedUs, vectors, isLenient: true });
  return { kind: "replay", id, content, labels, revision, createdRevision, createdUs, updatedUs };
}

function fileOf(file: ArchiveChange_File): StoredFile {
  const { owner, name, sizeBytes, contentType, createdUs, updatedUs } = file;
  const sha256 = Buffer.from(file.sha256).toString("hex");
  if (sha256.length !== 64 || name === "" || sizeBytes < 0n) {
    throw invalidArchive("the name of a file is not valid");
  }
  checkMoments(`file ${name.slice(0, 256)}`, { created_us: createdUs, updated_us: updatedUs });
  return { owner, name, sha256, sizeBytes, contentType, createdUs, updatedUs };
}

/** @param moments by the names of their fields, in microseconds of Unix time */
function checkMoments(of: string, moments: Readonly<Record<string, bigint>>): void {
  for (const [field, us] of Object.entries(moments)) {
    if (isMomentUs(us)) continue;
    const problem = `${field} is ${us}, no moment of the years 1 to 9999`;
    throw invalidArchive(`part changes: ${of}: ${problem}`);
  }
}

/** What a request would have been refused for, an archive cannot hold. */
const invalidReasons: ReadonlySet<string> = new Set([
  "ITEM_UNPARSABLE",
  "ID_INVALID",
  "ARGUMENT_MISSING",
  "ARGUMENT_INVALID",
  "LABEL_INVALID",
  "CONTENT_MISMATCH",
  "RECORD_NOT_FOUND",
  "ARCHIVE_DAMAGED",
]);

function replayFailure(error: unknown): unknown {
  if (!(error instanceof CollectorError) || !invalidReasons.has(error.reason)) return error;
  return invalidArchive(`part changes: ${error.message}`, error);
}
