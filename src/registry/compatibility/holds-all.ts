import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type FileIndex, indexFile } from "../schema/file-index.ts";
import { canonicalCopy } from "../schema/normalize.ts";
import { breakingChanges } from "./breaking-changes.ts";

/**
 * What would be lost if one file took the place of another: what is incompatible, and types and methods that
 * are not there any more. It looks at the files by themselves.
 *
 * @param before bytes of a descriptor, as `after`
 * @returns for people; undefined if nothing is lost
 */
export function lossOf(before: Uint8Array, after: Uint8Array): string | undefined {
  const [old, now] = [indexFile(canonicalCopy(before)), indexFile(canonicalCopy(after))];
  const [change] = breakingChanges(old, now, {
    before: (type) => old.types.get(type),
    after: (type) => now.types.get(type),
  });
  if (change !== undefined) return `${change.description} (${change.rule})`;
  return missingIn(old, now);
}

/** Names of the files that a file imports. @param source bytes of its descriptor */
export function importsOf(source: Uint8Array): readonly string[] {
  return fromBinary(FileDescriptorProtoSchema, source).dependency;
}

function missingIn(old: FileIndex, now: FileIndex): string | undefined {
  for (const entry of old.types.values()) {
    const same = now.types.get(entry.fullName);
    if (same?.kind !== entry.kind) return `${entry.kind} ${entry.fullName} is not there`;
    if (entry.kind !== "service" || same.kind !== "service") continue;
    const names = new Set(same.proto.method.map(({ name }) => name));
    const lost = entry.proto.method.find(({ name }) => !names.has(name));
    if (lost !== undefined) return `method ${entry.fullName}.${lost.name} is not there`;
  }
  return undefined;
}
