import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { sizeDelimitedPeek } from "@bufbuild/protobuf/wire";
import { translateFileError } from "../../archive/file-failure.ts";
import { CollectorError } from "../../errors.ts";
import { Pace } from "../../registry/pace.ts";
import { invalidArchive } from "../archive-failures.ts";
import { decodeEntry, encodeEntry, type PartEntry, type ReadEntry } from "./registry-entry.ts";
import { entryBytesMax, entryProblem, RegistryWeight, weightOfEntry } from "./registry-weight.ts";

/** Longest tag and length in front of an entry. */
const headBytesMax = 11;

/** What is encoded or decoded in one turn of the event loop. */
const sliceBytes = 256 * 1024;

/**
 * Writes part `registry` to a new file, not durably. It is one message, written field by field.
 *
 * @param path absolute; nothing is there.
 * @returns the number of entries
 * @throws {CollectorError} QUOTA_EXCEEDED for an entry that no reader would take, DISK_FULL,
 * STORAGE_UNAVAILABLE, or what the signal fires with. Then nothing is left at the path.
 */
export async function writeRegistryPart(
  path: string,
  entries: Iterable<PartEntry>,
  signal: AbortSignal,
): Promise<bigint> {
  let count = 0n;
  try {
    await using file = await open(path, "wx", 0o600);
    let pending: Uint8Array[] = [];
    let bytes = 0;
    const weight = new RegistryWeight();
    const flush = async (): Promise<void> => {
      signal.throwIfAborted();
      await file.writeFile(Buffer.concat(pending));
      pending = [];
      bytes = 0;
    };
    for (const entry of entries) {
      const encoded = encodeEntry(entry);
      const decodedBytes = weightOfEntry(encoded);
      const problem =
        entryProblem(encoded.length, decodedBytes) ??
        weight.add(entry, encoded.length, decodedBytes);
      if (problem !== undefined) throw tooLarge(problem);
      pending.push(encoded);
      bytes += encoded.length;
      count += 1n;
      if (bytes >= sliceBytes) await flush();
    }
    await flush();
    return count;
  } catch (error) {
    await rm(path, { force: true });
    throw translateFileError(error);
  }
}

/**
 * Reads part `registry`, which may be crafted. In memory are a slice of the file and an entry at most. Entries are
 * weighed before they are decoded, and what a reader may keep of them as it says in {@link RegistryWeight}.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, STORAGE_UNAVAILABLE; what the signal fires with
 */
export async function* readRegistryPart(
  path: string,
  signal: AbortSignal,
): AsyncIterable<ReadEntry> {
  const weight = new RegistryWeight();
  const pace = new Pace();
  let rest: Buffer = Buffer.alloc(0);
  for await (const slice of readSlices(path)) {
    signal.throwIfAborted();
    rest = Buffer.concat([rest, slice]);
    let used = 0;
    for (;;) {
      const length = entryLength(rest.subarray(used, used + headBytesMax));
      if (length === undefined || used + length > rest.length) break;
      // A copy, so that an entry that is kept does not keep the slice.
      const encoded = Uint8Array.from(rest.subarray(used, used + length));
      const decodedBytes = weightOfEntry(encoded);
      refuse(entryProblem(length, decodedBytes));
      const entry = decodeEntry(encoded);
      refuse(weight.add(entry, length, decodedBytes));
      yield { ...entry, encoded };
      used += length;
      await pace.step();
    }
    rest = rest.subarray(used);
    await setImmediate();
  }
  if (rest.length > 0) throw invalidArchive("part registry ends too early");
}

/** Of an entry with its tag and length; undefined if that cannot be told yet. */
function entryLength(head: Buffer): number | undefined {
  if (head.length < 2) return undefined;
  let peeked: ReturnType<typeof sizeDelimitedPeek>;
  try {
    // Every field of the message has a tag of one byte.
    peeked = sizeDelimitedPeek(head.subarray(1));
  } catch {
    throw invalidArchive("part registry has a length that is none");
  }
  if (peeked.eof) {
    if (head.length < headBytesMax) return undefined;
    throw invalidArchive("part registry has a length that is none");
  }
  const length = 1 + peeked.offset + peeked.size;
  if (length <= entryBytesMax) return length;
  throw invalidArchive(`part registry has an entry of ${length} bytes`);
}

/** @throws {CollectorError} ARCHIVE_INVALID if there is a problem */
function refuse(problem: string | undefined): void {
  if (problem !== undefined) throw invalidArchive(`part registry: ${problem}`);
}

function tooLarge(problem: string): CollectorError {
  return new CollectorError(
    "QUOTA_EXCEEDED",
    `the registry does not fit in an archive: ${problem}`,
  );
}

async function* readSlices(path: string): AsyncIterable<Buffer> {
  try {
    for await (const slice of createReadStream(path, { highWaterMark: sliceBytes })) {
      if (slice instanceof Buffer) yield slice;
    }
  } catch (error) {
    throw translateFileError(error);
  }
}
