import { decodedBytesMax } from "../../archive/format.ts";
import { ArchivedRegistrySchema } from "../../gen/collector/archive_pb.ts";
import { wireWeight } from "../../lib/wire-weight.ts";
import type { PartEntry } from "./registry-entry.ts";

/** Largest entry, in bytes: a file with what is said about it. */
export const entryBytesMax: number = 4 * 1024 * 1024;

/** Bytes of the entries of one namespace, all of which are in memory at a time. */
const namespaceBytesMax = 256 * 1024 * 1024;

/** What an entry takes beside its bytes. */
const entryOverheadBytes = 256;

/**
 * Bytes of what is in memory decoded: of one namespace the newest version of each file, and its services; of a set the
 * names of its collections. A namespace that has as many types and fields as may be takes less.
 */
const decodedTogetherBytesMax = 128 * 1024 * 1024;

/** What an entry takes in memory once it is decoded, in bytes; of one that is too heavy, just more than it may. */
export function weightOfEntry(encoded: Uint8Array): number {
  return wireWeight(ArchivedRegistrySchema, encoded, decodedBytesMax);
}

/** What is too much about an entry by itself, or undefined. */
export function entryProblem(bytes: number, weight: number): string | undefined {
  if (bytes > entryBytesMax) return `an entry has ${bytes} bytes, the limit is ${entryBytesMax}`;
  if (weight <= decodedBytesMax) return undefined;
  return `an entry takes more memory than the limit of ${decodedBytesMax} bytes`;
}

/** Adds up what is in memory while part `registry` is read, entry by entry. */
export class RegistryWeight {
  #namespaceBytes = 0;
  #namespaceWeight = 0;
  #collectionsWeight = 0;
  readonly #newest = new Map<string, number>();

  /** @returns what has become too much, or undefined */
  add(entry: PartEntry, bytes: number, weight: number): string | undefined {
    if (entry.kind === "collection") {
      this.#collectionsWeight += weight;
      return problem("its collections take", this.#collectionsWeight, decodedTogetherBytesMax);
    }
    if (entry.kind === "namespace") this.#begin();
    this.#namespaceBytes += bytes + entryOverheadBytes;
    this.#namespaceWeight += weight;
    if (entry.kind === "proto") {
      const name = entry.value.fileDescriptor?.name ?? "";
      this.#namespaceWeight -= this.#newest.get(name) ?? 0;
      this.#newest.set(name, weight);
    }
    return (
      problem("the entries of a namespace take", this.#namespaceBytes, namespaceBytesMax) ??
      problem(
        "the newest files and the services of a namespace take",
        this.#namespaceWeight,
        decodedTogetherBytesMax,
      )
    );
  }

  #begin(): void {
    this.#namespaceBytes = 0;
    this.#namespaceWeight = 0;
    this.#newest.clear();
  }
}

function problem(what: string, bytes: number, max: number): string | undefined {
  return bytes > max ? `${what} more memory than the limit of ${max} bytes` : undefined;
}
