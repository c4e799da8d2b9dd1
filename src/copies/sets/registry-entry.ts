import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type ArchivedRegistry, ArchivedRegistrySchema } from "../../gen/collector/archive_pb.ts";
import type { NamespacedName } from "../../gen/collector/common_pb.ts";
import type { RegistryEntry } from "../../registry/moment.ts";
import { invalidArchive } from "../archive-failures.ts";

/** An entry of part `registry`. */
export type PartEntry =
  | RegistryEntry
  | { readonly kind: "collection"; readonly value: NamespacedName };

/** An entry as it was read, and the bytes that it was read from. */
export type ReadEntry = PartEntry & { readonly encoded: Uint8Array };

/** As it stands in the part: with its tag and its length. */
export function encodeEntry(entry: PartEntry): Uint8Array {
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

/** @throws {CollectorError} ARCHIVE_INVALID */
export function decodeEntry(encoded: Uint8Array): PartEntry {
  let registry: ArchivedRegistry;
  try {
    registry = fromBinary(ArchivedRegistrySchema, encoded);
  } catch {
    throw invalidArchive("part registry has an entry that cannot be read");
  }
  const [entry, ...others] = [
    ...registry.namespaces.map((value) => ({ kind: "namespace", value }) as const),
    ...registry.protos.map((value) => ({ kind: "proto", value }) as const),
    ...registry.services.map((value) => ({ kind: "service", value }) as const),
    ...registry.collections.map((value) => ({ kind: "collection", value }) as const),
  ];
  if (entry !== undefined && others.length === 0) return entry;
  throw invalidArchive("part registry has an entry that this server does not know");
}

/** Entries that are kept as bytes. Each time that they are gone through, one after the other is decoded. */
export class EncodedEntries<Value> implements Iterable<Value> {
  readonly #listOf: (registry: ArchivedRegistry) => readonly Value[];
  readonly #encoded: Uint8Array[] = [];

  /** @param listOf what the entries are, of a part that has just one of them */
  constructor(listOf: (registry: ArchivedRegistry) => readonly Value[]) {
    this.#listOf = listOf;
  }

  push({ encoded }: ReadEntry): void {
    this.#encoded.push(encoded);
  }

  *[Symbol.iterator](): Iterator<Value> {
    for (const encoded of this.#encoded) {
      yield* this.#listOf(fromBinary(ArchivedRegistrySchema, encoded));
    }
  }
}
