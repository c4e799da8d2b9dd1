import { create, type DescMessage } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../errors.ts";
import {
  type Collection,
  CollectionSchema,
  Durability,
  type Expiry,
  type TextSearch,
  type VectorField,
} from "../gen/collector/collection_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { checkNamespaceName, quote } from "../registry/names.ts";
import type { TypeSnapshot, TypeSource } from "../registry/type-snapshot.ts";
import type { StoreLocation } from "../storage/record-store.ts";
import type { StoreLayout } from "../storage/store-layout.ts";
import { checkExpiry } from "./expiry-definition.ts";
import { indexPath } from "./field-paths.ts";
import { checkCollectionName, checkLabels, type LabelLimits, refuseSystemWrite } from "./names.ts";
import { timestampOfUs } from "./record-answers.ts";
import { checkTextSearch, textIndexOf } from "./text-definition.ts";
import { checkVectorFields, vectorIndexesOf } from "./vector-definition.ts";

export type DefinitionLimits = LabelLimits & Pick<Limits, "indexedFieldsMax">;

/** A definition of a caller's, checked. It lacks what creating it gives it: id and times. */
export interface CheckedDefinition {
  readonly namespace: string;
  readonly name: string;
  readonly desc: DescMessage;
  readonly typeVersion: bigint;
  readonly indexedFields: string[];
  readonly labels: Record<string, string>;
  readonly durability: Durability;
  readonly textSearch: TextSearch | undefined;
  readonly vectorFields: VectorField[];
  readonly expiry: Expiry | undefined;
}

/**
 * Checks a definition as Create takes it.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID, NAMESPACE_MISMATCH, TYPE_NOT_REGISTERED,
 * TYPE_AMBIGUOUS, FIELD_UNKNOWN, ARGUMENT_INVALID, LABEL_INVALID, SYSTEM_READ_ONLY
 */
export function checkDefinition(
  collection: Collection | undefined,
  types: TypeSource,
  limits: DefinitionLimits,
): CheckedDefinition {
  if (collection === undefined) {
    throw invalidField("ARGUMENT_MISSING", "collection", "is missing; send its definition");
  }
  const { namespace, name, messageType } = collection;
  checkNamespaceName(namespace, "collection.namespace");
  refuseSystemWrite(namespace);
  checkCollectionName(name, "collection.name");
  if (messageType !== undefined && !["", namespace].includes(messageType.namespace)) {
    throw invalidField(
      "NAMESPACE_MISMATCH",
      "collection.message_type.namespace",
      `is ${quote(messageType.namespace)}, the collection is in ${quote(namespace)}; leave it empty`,
    );
  }
  const snapshot = types.snapshot(namespace);
  const desc = registeredType(snapshot, messageType?.messageName ?? "");
  const labels = collection.metadata?.labels ?? {};
  checkLabels(labels, limits, "collection.metadata.labels");
  return {
    namespace,
    name,
    desc,
    typeVersion: snapshot.typeVersion(desc.typeName),
    indexedFields: indexedPaths(
      desc,
      collection.indexedFields,
      "collection.indexed_fields",
      limits,
    ),
    labels,
    durability: checkDurability(collection.durability),
    textSearch: checkTextSearch(desc, collection.textSearch, "collection.text_search"),
    vectorFields: checkVectorFields(desc, collection.vectorFields, "collection.vector_fields"),
    expiry: checkExpiry(desc, collection.expiry, "collection.expiry"),
  };
}

const typeField = "collection.message_type.message_name";

function registeredType(snapshot: TypeSnapshot, name: string): DescMessage {
  if (name === "") {
    throw invalidField(
      "ARGUMENT_MISSING",
      typeField,
      "names no type; send that of the records, or google.protobuf.Struct for any JSON object",
    );
  }
  try {
    return snapshot.message(name);
  } catch (error) {
    if (!(error instanceof CollectorError)) throw error;
    const reason = error.reason === "TYPE_NOT_FOUND" ? "TYPE_NOT_REGISTERED" : error.reason;
    throw new CollectorError(reason, `${typeField}: ${error.message}`, {
      cause: error,
      subject: error.subject,
      violations: [{ field: typeField, description: error.message }],
    });
  }
}

/** @returns the paths in proto names, each once. @throws {CollectorError} FIELD_UNKNOWN, ARGUMENT_INVALID */
export function indexedPaths(
  desc: DescMessage,
  fields: readonly string[],
  argument: string,
  { indexedFieldsMax }: Pick<Limits, "indexedFieldsMax">,
): string[] {
  const paths = new Set<string>();
  for (const [index, field] of fields.entries()) {
    paths.add(indexPath(desc, field, `${argument}[${index}]`));
    if (paths.size > indexedFieldsMax) {
      throw invalidField("ARGUMENT_INVALID", argument, `has over ${indexedFieldsMax} fields`);
    }
  }
  return [...paths];
}

function checkDurability(durability: Durability): Durability {
  switch (durability) {
    case Durability.UNSPECIFIED:
      return Durability.FULL;
    case Durability.FULL:
    case Durability.RELAXED:
      return durability;
    default:
      throw invalidField(
        "ARGUMENT_INVALID",
        "collection.durability",
        `is ${Number(durability)}; send DURABILITY_FULL or DURABILITY_RELAXED`,
      );
  }
}

export function newDefinition(
  checked: CheckedDefinition,
  collectionId: string,
  nowUs: bigint,
): Collection {
  const now = timestampOfUs(nowUs);
  const { namespace, name, desc, indexedFields, labels, durability, typeVersion } = checked;
  const { textSearch, vectorFields, expiry } = checked;
  return create(CollectionSchema, {
    namespace,
    name,
    messageType: { namespace, messageName: desc.typeName },
    indexedFields,
    metadata: { createdAt: now, updatedAt: now, labels },
    collectionId,
    generation: 1n,
    typeVersion,
    durability,
    etag: "1",
    vectorFields,
    ...(textSearch === undefined ? {} : { textSearch }),
    ...(expiry === undefined ? {} : { expiry }),
  });
}

/** What of a definition is changed by altering the collection. */
export interface AlteredParts {
  readonly textSearch: TextSearch | undefined;
  readonly vectorFields: VectorField[];
  readonly expiry: Expiry | undefined;
}

export interface DefinitionChanges
  extends Partial<Pick<Collection, "name" | "indexedFields" | "typeVersion">> {
  readonly labels?: Record<string, string>;
  readonly altered?: AlteredParts;
}

/** A copy with changes and the next etag: a definition that was answered never changes. */
export function changedDefinition(
  definition: Collection,
  changes: DefinitionChanges,
  nowUs: bigint,
): Collection {
  const { labels, altered, ...fields } = changes;
  const { metadata } = definition;
  return {
    ...(altered === undefined ? definition : withParts(definition, altered)),
    ...fields,
    etag: String(BigInt(definition.etag) + 1n),
    metadata: {
      $typeName: "collector.Metadata",
      ...metadata,
      labels: labels ?? metadata?.labels ?? {},
      updatedAt: timestampOfUs(nowUs),
    },
  };
}

/** A copy with these parts instead of its own. */
export function withParts(definition: Collection, parts: AlteredParts): Collection {
  const { textSearch: _textSearch, expiry: _expiry, ...rest } = definition;
  const { textSearch, vectorFields, expiry } = parts;
  return {
    ...rest,
    vectorFields,
    ...(textSearch === undefined ? {} : { textSearch }),
    ...(expiry === undefined ? {} : { expiry }),
  };
}

/** The same for a definition and for parts of one. */
export function partsOf({ textSearch, vectorFields, expiry }: Collection): AlteredParts {
  return { textSearch, vectorFields, expiry };
}

/** @throws {CollectorError} VERSION_MISMATCH */
export function checkEtag(definition: Collection, ifMatch: string): void {
  if (ifMatch === "" || ifMatch === definition.etag) return;
  const { namespace, name, etag } = definition;
  throw new CollectorError(
    "VERSION_MISMATCH",
    `if_match: the definition has etag ${quote(etag)}, not ${quote(ifMatch)}; read it again and decide anew`,
    {
      subject: { namespace, collection: name },
      violations: [{ field: "if_match", description: `is not the etag ${quote(etag)}` }],
    },
  );
}

export function layoutOf(definition: Collection): StoreLayout {
  return {
    durability: definition.durability === Durability.RELAXED ? "relaxed" : "full",
    text: textIndexOf(definition),
    vectors: vectorIndexesOf(definition),
    indexes: definition.indexedFields.map((path) => ({ path })),
  };
}

/** Where the data of a collection is: the id is the server's, so no caller's text names a folder. */
export function locationOf({ collectionId, generation }: Collection): StoreLocation {
  return { storeId: collectionId, generation };
}
