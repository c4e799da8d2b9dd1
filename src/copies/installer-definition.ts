import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  type CheckedDefinition,
  checkDefinition,
  layoutOf,
  newDefinition,
} from "../collections/definitions.ts";
import { CollectorError } from "../errors.ts";
import { type Collection, type Origin, OriginSchema } from "../gen/collector/collection_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { TypeSnapshot } from "../registry/type-snapshot.ts";
import { invalidArchive } from "./archive-failures.ts";
import type { ChainLink } from "./installer-chain.ts";
import type { ChainWork } from "./installer-store.ts";
import type { ArchivedTypes } from "./schema-install.ts";

/** Names the backup that a collection was restored from. */
export const restoredLabel = "restored-from-backup";

export interface DefinitionPlace {
  readonly namespace: string;
  readonly name: string;
}

/**
 * Checks a definition that came with an archive, against the types that came with it.
 *
 * @throws {CollectorError} ARCHIVE_INVALID
 */
export function checkArchivedDefinition(
  collection: Collection,
  { namespace, name }: DefinitionPlace,
  archived: ArchivedTypes,
  limits: Limits,
): CheckedDefinition {
  const { desc, types } = archived;
  const missing = (): never => {
    throw invalidArchive("its definition names a type that its schema has not");
  };
  const snapshot: TypeSnapshot = {
    namespace,
    revision: 0n,
    types,
    message: (typeName) => (typeName === desc.typeName ? desc : missing()),
    typeVersion: () => 0n,
    service: missing,
    method: () => undefined,
  };
  const { messageType: _messageType, ...rest } = collection;
  const messageType = {
    $typeName: "collector.MessageTypeRef" as const,
    namespace,
    messageName: desc.typeName,
  };
  try {
    const given: Collection = { ...rest, namespace, name, messageType };
    return checkDefinition(given, { snapshot: () => snapshot }, limits);
  } catch (error) {
    if (!(error instanceof CollectorError) || error.reason === "ARCHIVE_INVALID") throw error;
    throw invalidArchive(`its definition is not valid: ${error.message}`, error);
  }
}

export interface InstalledDefinition {
  readonly checked: CheckedDefinition;
  /** As it was at the source. */
  readonly source: Collection;
  readonly replaces: Collection | undefined;
  readonly collectionId: string;
  readonly generation: bigint;
  readonly typeVersion: bigint;
  readonly origin: Omit<Origin, "$typeName" | "copiedAt">;
  readonly nowUs: bigint;
}

/** The definition of a collection that was made from a copy. */
export function installedDefinition(made: InstalledDefinition): Collection {
  const { checked, source, replaces, collectionId, generation, typeVersion, origin, nowUs } = made;
  const definition = newDefinition(checked, collectionId, nowUs);
  const { backupId } = origin;
  const createdAt = source.metadata?.createdAt;
  const copiedAt = timestampFromMs(Number(nowUs / 1000n));
  return {
    ...definition,
    generation,
    typeVersion,
    etag: replaces === undefined ? "1" : String(BigInt(replaces.etag) + 1n),
    origin: create(OriginSchema, { ...origin, copiedAt }),
    metadata: {
      $typeName: "collector.Metadata",
      ...definition.metadata,
      ...(createdAt === undefined ? {} : { createdAt }),
      labels: {
        ...checked.labels,
        ...(backupId === "" ? {} : { [restoredLabel]: backupId }),
      },
    },
  };
}

/** The archive's definition with all defaults filled in. */
export function definitionOf({ collection }: ChainLink, checked: CheckedDefinition): Collection {
  const { indexedFields, durability, textSearch, vectorFields, expiry } = checked;
  const { textSearch: _textSearch, expiry: _expiry, ...rest } = collection;
  return {
    ...rest,
    indexedFields,
    durability,
    vectorFields,
    ...(textSearch === undefined ? {} : { textSearch }),
    ...(expiry === undefined ? {} : { expiry }),
  };
}

/** @throws {CollectorError} ARCHIVE_INVALID if what is indexed changes along a chain */
export function checkSameLayout(chain: readonly ChainLink[], { definition }: ChainWork): void {
  const wanted = JSON.stringify(layoutOf(definition));
  for (const { collection, index } of chain) {
    const layout = { ...collection, durability: definition.durability };
    if (JSON.stringify(layoutOf(layout)) === wanted) continue;
    throw invalidArchive(`archive ${index + 1} has other indexes than those after it`);
  }
}
