import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { fromBinary } from "@bufbuild/protobuf";
import { sizeDelimitedEncode, sizeDelimitedPeek } from "@bufbuild/protobuf/wire";
import { type ArchiveChange, ArchiveChangeSchema } from "../gen/collector/archive_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import { isTooHeavy } from "../lib/wire-weight.ts";
import { errnoCode, translateFileError } from "./file-failure.ts";
import { damaged, decodedBytesMax } from "./format.ts";

/** What is encoded or decoded in one turn of the event loop. */
const sliceBytes = 256 * 1024;

/** What is written before it is synced. */
const syncBytes = 4 * 1024 * 1024;

/** Longest varint that is read as a length. */
const lengthBytesMax = 10;

export interface WrittenChanges {
  readonly count: number;
  readonly bytes: number;
}

export interface ReadChangesOptions {
  /** Largest change, in bytes; four times the default limit of a message if absent. */
  readonly changeBytesMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes part `changes` to a new file, not durably. A change takes memory only until it is written.
 *
 * @param path absolute; nothing is there.
 * @throws {CollectorError} DISK_FULL, STORAGE_UNAVAILABLE, or what the changes or the signal fail with.
 * Then nothing is left at the path.
 */
export async function writeChanges(
  path: string,
  changes: AsyncIterable<ArchiveChange> | Iterable<ArchiveChange>,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<WrittenChanges> {
  const handle = await open(path, "wx", 0o600).catch((error: unknown) => {
    throw translateFileError(error);
  });
  let count = 0;
  let bytes = 0;
  let unsynced = 0;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  const flush = async (): Promise<void> => {
    const slice = Buffer.concat(pending);
    pending = [];
    pendingBytes = 0;
    await handle.writeFile(slice);
    bytes += slice.length;
    unsynced += slice.length;
    if (unsynced < syncBytes) return;
    unsynced = 0;
    await handle.datasync();
  };
  try {
    for await (const change of changes) {
      const encoded = sizeDelimitedEncode(ArchiveChangeSchema, change);
      pending.push(encoded);
      pendingBytes += encoded.length;
      count += 1;
      if (pendingBytes < sliceBytes) continue;
      options.signal?.throwIfAborted();
      await flush();
    }
    options.signal?.throwIfAborted();
    await flush();
    await handle.close();
    return { count, bytes };
  } catch (error) {
    await handle.close().catch(() => undefined);
    await rm(path, { force: true });
    throw translateFileError(error);
  }
}

/**
 * Reads part `changes` from a file. In memory are a slice of the file and one change at most.
 *
 * @throws {CollectorError} ARCHIVE_DAMAGED, STORAGE_UNAVAILABLE; what the signal fires with
 */
export async function* readChanges(
  path: string,
  options: ReadChangesOptions = {},
): AsyncIterable<ArchiveChange> {
  const changeBytesMax = options.changeBytesMax ?? 4 * defaultLimits.messageBytesMax;
  let rest = Buffer.alloc(0);
  let missing = 0;
  const slices: Buffer[] = [];
  let sliced = 0;
  for await (const slice of readSlices(path)) {
    options.signal?.throwIfAborted();
    slices.push(slice);
    sliced += slice.length;
    // A large change is put together once, when all of it is there.
    if (sliced < missing) continue;
    rest = Buffer.concat([rest, ...slices.splice(0)]);
    sliced = 0;
    let used = 0;
    for (;;) {
      const next = changeAt(rest, used, changeBytesMax);
      missing = next.to - rest.length;
      if (next.bytes === undefined) break;
      used = next.to;
      yield decode(next.bytes);
    }
    rest = rest.subarray(used);
    await setImmediate();
  }
  if (rest.length > 0 || sliced > 0) throw damaged("its changes end too early");
}

interface NextChange {
  /** Undefined: not all of it is there. */
  readonly bytes: Uint8Array | undefined;
  /** Where it ends; where it starts if its length is not known yet. */
  readonly to: number;
}

function changeAt(bytes: Buffer, at: number, changeBytesMax: number): NextChange {
  const length = peekLength(bytes.subarray(at, at + lengthBytesMax));
  if (length === undefined) return { bytes: undefined, to: at };
  if (length.size > changeBytesMax) {
    throw damaged(`a change has ${length.size} bytes, the limit is ${changeBytesMax}`);
  }
  const from = at + length.offset;
  const to = from + length.size;
  return { bytes: to > bytes.length ? undefined : bytes.subarray(from, to), to };
}

function peekLength(bytes: Uint8Array): { size: number; offset: number } | undefined {
  try {
    const { eof, size, offset } = sizeDelimitedPeek(bytes);
    if (!eof) return { size, offset };
  } catch {
    throw damaged("the length of a change is not valid");
  }
  if (bytes.length >= lengthBytesMax) throw damaged("the length of a change is not valid");
  return undefined;
}

function decode(bytes: Uint8Array): ArchiveChange {
  if (isTooHeavy(ArchiveChangeSchema, bytes, decodedBytesMax)) {
    throw damaged(`a change takes more memory than the limit of ${decodedBytesMax} bytes`);
  }
  let change: ArchiveChange;
  try {
    // A copy, so that a change that is kept does not keep the slice.
    const copy = Uint8Array.from(bytes);
    change = fromBinary(ArchiveChangeSchema, copy, { readUnknownFields: false });
  } catch {
    throw damaged("a change cannot be read");
  }
  if (change.entry.case === undefined) throw damaged("a change is none that this server knows");
  return change;
}

async function* readSlices(path: string): AsyncIterable<Buffer> {
  try {
    for await (const slice of createReadStream(path, { highWaterMark: sliceBytes })) {
      if (slice instanceof Buffer) yield slice;
    }
  } catch (error) {
    if (errnoCode(error) === "ENOENT") throw damaged("its changes are missing");
    throw translateFileError(error);
  }
}
