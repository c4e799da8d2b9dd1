import type { DescMessage } from "@bufbuild/protobuf";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import type { ModifyRequest } from "../gen/collector/collection_server_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import type { OperationStore } from "../operations/operation-store.ts";
import { isSameParts, needsOf, wantedBy } from "./alteration.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import type { DefinitionTable } from "./definition-table.ts";
import {
  type AlteredParts,
  checkEtag,
  type DefinitionChanges,
  type DefinitionLimits,
  indexedPaths,
  partsOf,
  withParts,
} from "./definitions.ts";
import { checkExpiry } from "./expiry-definition.ts";
import { type MaskedPart, readModifyMask } from "./modify-mask.ts";
import { checkLabels } from "./names.ts";
import { checkTextSearch } from "./text-definition.ts";
import { busy, typeUpgradeKind, type Upkeep } from "./upkeep.ts";
import { checkVectorChange, checkVectorFields } from "./vector-definition.ts";

export type ModifyCollection = Omit<ModifyRequest, "$typeName" | "$unknown">;

/** How long the caller waits for work on indexes. */
export interface ModifyWaiting {
  readonly timeoutMs?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ModifyParts {
  readonly table: DefinitionTable;
  readonly upkeep: Upkeep;
  readonly operations: OperationStore;
  readonly limits: DefinitionLimits;
}

/**
 * Changes a definition, and the indexes with it.
 *
 * @returns the work on indexes, ended or not; undefined if there is none to do.
 * @throws {CollectorError} what {@link planModify} throws; what the work failed with, if it failed
 * while it was waited for.
 */
export async function modifyCollection(
  entry: CatalogEntry,
  request: ModifyCollection,
  waiting: ModifyWaiting,
  parts: ModifyParts,
): Promise<Operation | undefined> {
  const failure: { error?: unknown } = {};
  const operation = await parts.table.changing(entry, async () => {
    const plan = await planModify(entry, request, parts);
    return request.validateOnly ? undefined : applyModify(entry, plan, parts, failure);
  });
  if (operation === undefined || request.returnImmediately) return operation;
  const seen = await parts.operations.wait(operation.name, waiting);
  if (seen.done && seen.result.case === "error" && failure.error !== undefined) throw failure.error;
  return seen;
}

async function applyModify(
  entry: CatalogEntry,
  { changes, changesIndexes, alters, weights, joins }: ModifyPlan,
  { table, upkeep }: ModifyParts,
  failure: { error?: unknown },
): Promise<Operation | undefined> {
  if (!changesIndexes && alters === undefined) {
    // Sent again after a crash between the two, it does the same again.
    if (weights !== undefined) await entry.store.reshape(wantedBy(weights));
    if (changes !== undefined) await table.replace(entry, changes);
    return joins;
  }
  // The operation is durable before the definition is: after a crash it makes the two agree.
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  const operation = await upkeep.startModification(entry, alters, ready, (error) => {
    failure.error = error;
  });
  try {
    if (changes !== undefined) await table.replace(entry, changes);
    resolve();
  } catch (error) {
    reject(error);
    throw error;
  }
  return operation;
}

/** What a request to modify a collection comes down to. */
interface ModifyPlan {
  /** What of the definition changes at once; undefined if nothing does. */
  readonly changes: DefinitionChanges | undefined;
  /** Indexes have to be built or dropped. */
  readonly changesIndexes: boolean;
  /** What an operation has to alter, if anything. */
  readonly alters: AlteredParts | undefined;
  /** The definition with new weights, if only these change. */
  readonly weights: Collection | undefined;
  /** Work that is doing just that already. */
  readonly joins: Operation | undefined;
}

/** @throws {CollectorError} FIELD_UNKNOWN, ARGUMENT_INVALID, LABEL_INVALID, VERSION_MISMATCH, OPERATION_RUNNING */
async function planModify(
  entry: CatalogEntry,
  request: ModifyCollection,
  { upkeep, limits }: ModifyParts,
): Promise<ModifyPlan> {
  const { definition } = entry;
  checkEtag(definition, request.ifMatch);
  const mask = readModifyMask(request);
  const { desc } = entry.records.type();
  const indexedFields = mask.has("indexedFields")
    ? indexedPaths(desc, request.indexedFields, "indexed_fields", limits)
    : definition.indexedFields;
  if (mask.has("labels")) checkLabels(request.labels, limits);
  const parts = readParts(request, mask, desc, definition);
  const labels = mask.has("labels") ? { labels: request.labels } : {};
  const isSame = sameFields(indexedFields, definition.indexedFields);
  const needs = needsOf(definition, parts);
  const changes: DefinitionChanges = {
    ...(isSame ? {} : { indexedFields }),
    ...labels,
    ...(needs.changes && !needs.work ? { altered: parts } : {}),
  };
  const running = upkeep.runningOn(entry).find(({ kind }) => kind !== typeUpgradeKind);
  const joins = isSame && isAimOf(running, parts, definition) ? running : undefined;
  const { indexes } = await entry.store.stats();
  const ready = indexes.filter(({ state }) => state === "ready").map(({ path }) => path);
  const isBuilt = indexes.length === ready.length && sameFields(ready, indexedFields);
  const changesIndexes = joins === undefined && mask.has("indexedFields") && !isBuilt;
  const alters = joins === undefined && needs.work ? parts : undefined;
  const changesNow = Object.keys(changes).length > 0;
  const changesParts = changes.altered !== undefined;
  if (running !== undefined && (changesIndexes || alters !== undefined || changesParts)) {
    throw busy(entry, running);
  }
  return {
    changes: changesNow ? changes : undefined,
    changesIndexes,
    alters,
    weights: needs.weights ? withParts(definition, parts) : undefined,
    joins,
  };
}

/** The altered parts of the definition, as the request wants them and as the mask lets it. */
function readParts(
  request: ModifyCollection,
  mask: ReadonlySet<MaskedPart>,
  desc: DescMessage,
  definition: Collection,
): AlteredParts {
  const { textSearch, vectorFields, expiry } = definition;
  const parts = {
    textSearch: mask.has("textSearch")
      ? checkTextSearch(desc, request.textSearch, "text_search")
      : textSearch,
    vectorFields: mask.has("vectorFields")
      ? checkVectorFields(desc, request.vectorFields, "vector_fields")
      : vectorFields,
    expiry: mask.has("expiry") ? checkExpiry(desc, request.expiry, "expiry") : expiry,
  };
  checkVectorChange(vectorFields, parts.vectorFields, "vector_fields");
  return parts;
}

/** Whether a running operation leads to just these parts. */
function isAimOf(
  running: Operation | undefined,
  parts: AlteredParts,
  definition: Collection,
): boolean {
  if (running === undefined) return false;
  const { metadata } = running;
  const aim = metadata === undefined ? undefined : anyUnpack(metadata, CollectionSchema);
  return isSameParts(aim === undefined ? partsOf(definition) : partsOf(aim), parts);
}

function sameFields(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((path) => other.includes(path));
}
