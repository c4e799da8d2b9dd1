import type { DescMessage } from "@bufbuild/protobuf";
import type { TypeSource } from "../registry/type-snapshot.ts";

/**
 * Version of the type in the definition of a collection whose records have to be derived anew. No type has
 * it, built-in ones neither, so the next start begins what could not be begun.
 */
export const outdatedTypeVersion = -1n;

/** The same in memory: no sum of versions is negative. */
export const outdatedSignature = -1n;

/**
 * A number that grows when any of the types that a message can hold gets a new version. What is
 * derived from a record depends on all of them, not on the message's own file alone.
 */
export function typeSignature(types: TypeSource, namespace: string, typeName: string): bigint {
  const snapshot = types.snapshot(namespace);
  const root = snapshot.types.getMessage(typeName);
  if (root === undefined) return 0n;
  const seen = new Set<DescMessage>([root]);
  let signature = 0n;
  // A set is walked in the order of insertion, what is added meanwhile included.
  for (const desc of seen) {
    signature += snapshot.typeVersion(desc.typeName);
    for (const { message } of desc.fields) if (message !== undefined) seen.add(message);
  }
  return signature;
}
