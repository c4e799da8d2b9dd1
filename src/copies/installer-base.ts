import type { CollectionCatalog } from "../collections/catalog.ts";
import { expirySourceOf, isSameExpiry } from "../collections/expiry-definition.ts";
import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Registry } from "../registry/registry.ts";
import type { StoreIntake } from "../storage/store-copies.ts";
import { unusableBase } from "./archive-failures.ts";
import { copyCollection, isSearchedLike } from "./copied-definition.ts";
import type { ChainLink } from "./installer-chain.ts";
import { type ChainWork, linkContents } from "./installer-store.ts";
import { areInForce } from "./schema-install.ts";

export interface BaseParts {
  readonly catalog: CollectionCatalog;
  readonly registry: Registry;
  readonly clock: Clock;
}

/**
 * Copies what is there, for changes to be applied to.
 *
 * @returns whether what is derived of it has to be derived anew
 * @throws {CollectorError} BASE_UNUSABLE
 */
export async function takeBase(
  intake: StoreIntake,
  { manifest: { base } }: ChainLink,
  current: Collection | undefined,
  { definition, types, run }: ChainWork,
  parts: BaseParts,
): Promise<boolean> {
  const origin = current?.origin;
  if (base === undefined || current === undefined || origin === undefined) {
    throw unusableBase("there is no copy that they are based on");
  }
  if (origin.incarnation !== base.incarnation || origin.revision !== base.revision) {
    throw unusableBase("they are based on another moment than the copy that is there");
  }
  const { namespace, name } = current;
  const place = { namespace, name, files: true, path: intake.dataPath };
  await using copy = await copyCollection(parts, place, run);
  const { snapshot, deriveAnew } = copy;
  if (snapshot.revision !== base.revision) {
    throw unusableBase("the copy that is there was written to since it was made");
  }
  if (!isSearchedLike(definition, snapshot.layout)) {
    throw unusableBase("what is searched has changed since the copy was made");
  }
  await linkContents(intake, snapshot, run);
  // Of what is there, all was derived by the types in force.
  const isSameType = areInForce(types, { registry: parts.registry, namespace });
  const expiries = [definition, copy.definition].map(expirySourceOf);
  return deriveAnew || !isSameType || !isSameExpiry(expiries[0], expiries[1]);
}

/** A file that the copy was said to have may be gone by now. */
export function withoutContent(error: unknown): unknown {
  const cause = error instanceof Error ? error.cause : undefined;
  const isMissing = cause instanceof CollectorError && cause.reason === "CONTENT_MISMATCH";
  return isMissing ? unusableBase("files of the copy that is there are missing") : error;
}
