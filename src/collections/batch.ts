import { CollectorError, invalidField } from "../errors.ts";
import type { RequestOp, ResponseOp } from "../gen/collector/collection_server_pb.ts";
import type { Status } from "../gen/collector/common_pb.ts";
import { Status_Code } from "../gen/collector/common_pb.ts";
import { quote } from "../registry/names.ts";
import type { StepOutcome } from "../storage/record-store.ts";
import { recordMeta } from "./record-answers.ts";
import {
  createParts,
  deleteParts,
  type RecordRequests,
  type RecordWrite,
  updateParts,
  type WriteTarget,
} from "./record-requests.ts";

/** The collection that a batch is for. */
export interface BatchScope {
  readonly namespace: string;
  readonly name: string;
  readonly target: WriteTarget;
  readonly requests: RecordRequests;
  readonly operationsMax: number;
}

/**
 * Checks all operations of a batch and turns them into writes.
 *
 * @throws {CollectorError} BATCH_INVALID for an operation that is not for this collection, or none;
 * otherwise what the first faulty operation throws alone.
 */
export function checkBatch(operations: readonly RequestOp[], scope: BatchScope): RecordWrite[] {
  if (operations.length === 0 || operations.length > scope.operationsMax) {
    throw invalidField(
      "BATCH_INVALID",
      "operations",
      `has ${operations.length} operations; send 1 to ${scope.operationsMax}`,
    );
  }
  // Before anything else: nothing of a batch that reaches for another collection is looked at.
  for (const [index, operation] of operations.entries()) checkTarget(operation, index, scope);
  return operations.map(({ operation }, index) => {
    const prefix = `operations[${index}].${operation.case}.`;
    if (operation.case === "create") {
      return scope.requests.create(operation.value, scope.target, prefix);
    }
    if (operation.case === "update") {
      return scope.requests.update(operation.value, scope.target, prefix);
    }
    if (operation.case === "delete") return scope.requests.delete(operation.value, prefix);
    throw empty(index);
  });
}

function checkTarget({ operation }: RequestOp, index: number, scope: BatchScope): void {
  if (operation.case === undefined) throw empty(index);
  const { namespace, collectionName, requestId, validateOnly } = operation.value;
  const prefix = `operations[${index}].${operation.case}`;
  if (namespace !== "" && namespace !== scope.namespace) {
    throw invalidField(
      "BATCH_INVALID",
      `${prefix}.namespace`,
      `is ${quote(namespace)}, the batch is for ${quote(scope.namespace)}; leave it empty`,
    );
  }
  if (collectionName !== "" && collectionName !== scope.name) {
    throw invalidField(
      "BATCH_INVALID",
      `${prefix}.collection_name`,
      `is ${quote(collectionName)}, the batch is for ${quote(scope.name)}; leave it empty`,
    );
  }
  if (requestId !== "") {
    throw invalidField(
      "BATCH_INVALID",
      `${prefix}.request_id`,
      "belongs on the batch, which succeeds or fails as a whole",
    );
  }
  if (validateOnly) {
    throw invalidField("BATCH_INVALID", `${prefix}.validate_only`, "belongs on the batch");
  }
}

function empty(index: number): CollectorError {
  return invalidField(
    "BATCH_INVALID",
    `operations[${index}]`,
    "holds no operation; send create, update or delete",
  );
}

/** What of a batch's operations makes it the same batch when it is sent again. */
export function batchParts(operations: readonly RequestOp[]): unknown[] {
  return ["batch", ...operations.map(({ operation }) => operationParts(operation))];
}

function operationParts(operation: RequestOp["operation"]): unknown[] {
  if (operation.case === "create") return createParts(operation.value);
  if (operation.case === "update") return updateParts(operation.value);
  return operation.case === "delete" ? deleteParts(operation.value) : [];
}

/** The answers to a batch's operations. @param outcomes undefined if the batch was only checked. */
export function responseOps(
  operations: readonly RequestOp[],
  outcomes: readonly StepOutcome[] | undefined,
): ResponseOp[] {
  return operations.map(({ operation }, index) => {
    const outcome = outcomes?.[index];
    return {
      $typeName: "collector.ResponseOp",
      status: ok(),
      response: responseTo(operation, outcome),
    };
  });
}

function responseTo(
  operation: RequestOp["operation"],
  outcome: StepOutcome | undefined,
): ResponseOp["response"] {
  const noted =
    outcome === undefined || outcome.change === "none" ? {} : { meta: recordMeta(outcome) };
  if (operation.case === "create") {
    const id = outcome?.id ?? operation.value.id;
    const $typeName = "collector.CreateResponse";
    return { case: "create", value: { $typeName, status: ok(), id, ...noted } };
  }
  if (operation.case === "update") {
    const created = outcome?.change === "created";
    const $typeName = "collector.UpdateResponse";
    return { case: "update", value: { $typeName, status: ok(), created, ...noted } };
  }
  if (operation.case === "delete") {
    const $typeName = "collector.DeleteResponse";
    return { case: "delete", value: { $typeName, status: ok(), ...noted } };
  }
  return { case: undefined };
}

function ok(): Status {
  return { $typeName: "collector.Status", code: Status_Code.OK, message: "", details: {} };
}
