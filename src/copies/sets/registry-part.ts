import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { setImmediate } from "node:timers/promises";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { sizeDelimitedPeek } from "@bufbuild/protobuf/wire";
import { translateFileError } from "../../archive/file-failure.ts";
import { CollectorError } from "../../errors.ts";
import { type ArchivedRegistry, ArchivedRegistrySchema } from "../../gen/collector/archive_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import type { RegistryEntry } from "../../registry/moment.ts";
import { invalidArchive } from "../archive-failures.ts";

/** An entry of part `registry`. */
export type PartEntry =
  | RegistryEntry
  | { readonly kind: "collection"; readonly value: NamespacedName };

/** Largest entry, in bytes: a file with what is said about it. */
const entryBytesMax = 4 * 1024 * 1024;

/** Bytes of one namespace: all of it is in memory at a time, as in the registry. */
const namespaceBytesMax = 512 * 1024 * 1024;

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
    let namespaceBytes = 0;
    const flush = async (): Promise<void> => {
      signal.throwIfAborted();
      await file.writeFile(Buffer.concat(pending));
      pending = [];
      bytes = 0;
    };
    for (const entry of entries) {
      const encoded = encode(entry);
      namespaceBytes = encoded.length + (entry.kind === "namespace" ? 0 : namespaceBytes);
      checkSize(`a ${entry.kind}`, encoded.length, entryBytesMax);
      checkSize("a namespace", namespaceBytes, namespaceBytesMax);
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
 * Reads part `registry`, which may be crafted. In memory are a slice of the file and an entry at most.
 *
 * @throws {CollectorError} ARCHIVE_INVALID, STORAGE_UNAVAILABLE; what the signal fires with
 */
export async function* readRegistryPart(
  path: string,
  signal: AbortSignal,
): AsyncIterable<PartEntry> {
  let rest: Buffer = Buffer.alloc(0);
  let namespaceBytes = 0;
  for await (const slice of readSlices(path)) {
    signal.throwIfAborted();
    rest = Buffer.concat([rest, slice]);
    let used = 0;
    for (;;) {
      const length = entryLength(rest.subarray(used, used + headBytesMax));
      if (length === undefined || used + length > rest.length) break;
      const entry = decode(rest.subarray(used, used + length));
      namespaceBytes = length + (entry.kind === "namespace" ? 0 : namespaceBytes);
      if (namespaceBytes > namespaceBytesMax) throw invalidArchive("a namespace is too large");
      yield entry;
      used += length;
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

function encode(entry: PartEntry): Uint8Array {
  const registry = create(ArchivedRegistrySchema);
  switch (entry.kind) {
    case "namespace":
      registry.namespaces.push(entry.value);
      break;
    case "proto":
      registry.protos.push(entry.value);
      break;
    case "service":
      registry.services.push(entry.value);
      break;
    case "collection":
      registry.collections.push(entry.value);
      break;
  }
  return toBinary(ArchivedRegistrySchema, registry);
}

function decode(bytes: Buffer): PartEntry {
  let registry: ArchivedRegistry;
  try {
    // A copy, so that an entry that is kept does not keep the slice.
    registry = fromBinary(ArchivedRegistrySchema, Uint8Array.from(bytes));
  } catch {
    throw invalidArchive("part registry has an entry that cannot be read");
  }
  const [entry] = [
    ...registry.namespaces.map((value) => ({ kind: "namespace", value }) as const),
    ...registry.protos.map((value) => ({ kind: "proto", value }) as const),
    ...registry.services.map((value) => ({ kind: "service", value }) as const),
    ...registry.collections.map((value) => ({ kind: "collection", value }) as const),
  ];
  if (entry !== undefined) return entry;
  throw invalidArchive("part registry has an entry that this server does not know");
}

/** @throws {CollectorError} QUOTA_EXCEEDED */
function checkSize(what: string, bytes: number, max: number): void {
  if (bytes <= max) return;
  const problem = `${what} has ${bytes} bytes, the limit in an archive is ${max}`;
  throw new CollectorError("QUOTA_EXCEEDED", problem);
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
