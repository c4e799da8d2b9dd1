import { CollectorError, invalidField } from "../errors.ts";
import type { ModifyRequest } from "../gen/collector/collection_server_pb.ts";
import type { Operation } from "../gen/collector/operations_pb.ts";
import { didYouMean } from "../lib/suggest.ts";
import type { OperationStore } from "../operations/operation-store.ts";
import { quote } from "../registry/names.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import type { DefinitionChanges, DefinitionTable } from "./definition-table.ts";
import { checkEtag, type DefinitionLimits, indexedPaths } from "./definitions.ts";
import { checkLabels } from "./names.ts";
import { indexBuildKind, type Upkeep } from "./upkeep.ts";

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
  { changes, changesIndexes, joins }: ModifyPlan,
  { table, upkeep }: ModifyParts,
  failure: { error?: unknown },
): Promise<Operation | undefined> {
  if (!changesIndexes) {
    if (changes !== undefined) await table.replace(entry, changes);
    return joins;
  }
  // The operation is durable before the definition is: after a crash it makes the two agree.
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  const operation = await upkeep.startIndexBuild(entry, ready, (error) => {
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
  /** Undefined if the definition stays as it is. */
  readonly changes: DefinitionChanges | undefined;
  /** Indexes have to be built or dropped. */
  readonly changesIndexes: boolean;
  /** Work that is doing just that already. */
  readonly joins: Operation | undefined;
}

/** The masks that Modify knows, by the field they stand for. */
const maskable: Readonly<Record<string, "indexedFields" | "labels">> = {
  indexed_fields: "indexedFields",
  indexedFields: "indexedFields",
  labels: "labels",
};

/** @throws {CollectorError} FIELD_UNKNOWN, ARGUMENT_INVALID, LABEL_INVALID, VERSION_MISMATCH, OPERATION_RUNNING */
async function planModify(
  entry: CatalogEntry,
  request: ModifyCollection,
  { upkeep, limits }: ModifyParts,
): Promise<ModifyPlan> {
  const { definition } = entry;
  checkEtag(definition, request.ifMatch);
  const mask = readMask(request);
  const { desc } = entry.records.type();
  const indexedFields = mask.has("indexedFields")
    ? indexedPaths(desc, request.indexedFields, "indexed_fields", limits)
    : definition.indexedFields;
  if (mask.has("labels")) checkLabels(request.labels, limits);
  const labels = mask.has("labels") ? { labels: request.labels } : {};
  const isSame = sameFields(indexedFields, definition.indexedFields);
  const changes =
    isSame && !mask.has("labels") ? undefined : { ...(isSame ? {} : { indexedFields }), ...labels };
  const running = upkeep.runningOn(entry).find(({ kind }) => kind === indexBuildKind);
  if (isSame && running !== undefined) return { changes, changesIndexes: false, joins: running };
  const { indexes } = await entry.store.stats();
  const ready = indexes.filter(({ state }) => state === "ready").map(({ path }) => path);
  const isBuilt = indexes.length === ready.length && sameFields(ready, indexedFields);
  if (!isBuilt && running !== undefined) throw busy(entry, running);
  return { changes, changesIndexes: mask.has("indexedFields") && !isBuilt, joins: undefined };
}

function readMask(
  request: Pick<ModifyRequest, "updateMask" | "labels">,
): ReadonlySet<"indexedFields" | "labels"> {
  const { updateMask, labels } = request;
  if (updateMask.includes("*")) return new Set(["indexedFields", "labels"]);
  if (updateMask.length === 0) {
    return new Set(
      Object.keys(labels).length === 0 ? ["indexedFields"] : ["indexedFields", "labels"],
    );
  }
  return new Set(
    updateMask.map((path) => {
      const field = Object.hasOwn(maskable, path) ? maskable[path] : undefined;
      if (field !== undefined) return field;
      const near = didYouMean(path, ["indexed_fields", "labels"]);
      throw invalidField(
        "FIELD_UNKNOWN",
        "update_mask",
        `${quote(path)} cannot be modified, but indexed_fields and labels can${near}`,
      );
    }),
  );
}

function sameFields(one: readonly string[], other: readonly string[]): boolean {
  return one.length === other.length && one.every((path) => other.includes(path));
}

function busy(entry: CatalogEntry, running: Operation): CollectorError {
  return new CollectorError(
    "OPERATION_RUNNING",
    `the indexes of ${entry.fullName} are being changed by ${running.name}; wait for it or cancel it`,
    { subject: { operation: running.name } },
  );
}
