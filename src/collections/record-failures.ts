import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { RequestOp } from "../gen/collector/collection_server_pb.ts";

/**
 * A failure of the storage, told in terms of the collection and of the caller's request: for a batch
 * with the operation that failed. Anything else is left as it is.
 */
export function aboutRecord(
  error: unknown,
  { namespace, name }: Collection,
  operations?: readonly RequestOp[],
): unknown {
  if (!(error instanceof CollectorError)) return error;
  const { step, ...subject } = error.subject;
  const kind = operations?.[Number(step)]?.operation.case;
  const violations = [...error.violations];
  if (kind !== undefined) {
    const argument = error.reason === "VERSION_MISMATCH" ? "if_match" : "id";
    const field = `operations[${step}].${kind}.${argument}`;
    violations.push({ field, description: error.message });
  }
  const message = kind === undefined ? error.message : `operations[${step}]: ${error.message}`;
  return new CollectorError(error.reason, message, {
    cause: error,
    subject: { namespace, collection: name, ...subject },
    violations,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: error.retryAfterMs }),
  });
}

export function missingRecord({ namespace, name }: Collection, id: string): CollectorError {
  return new CollectorError(
    "RECORD_NOT_FOUND",
    `there is no record with this id in ${namespace}/${name}`,
    { subject: { namespace, collection: name, id } },
  );
}

export function deletedCollection({ namespace, name }: Collection): CollectorError {
  return new CollectorError("COLLECTION_NOT_FOUND", `collection ${namespace}/${name} was deleted`, {
    subject: { namespace, collection: name },
  });
}

export function missingType(
  { namespace, name }: Pick<Collection, "namespace" | "name">,
  typeName: string,
): CollectorError {
  return new CollectorError(
    "TYPE_NOT_REGISTERED",
    `the type ${typeName} of collection ${namespace}/${name} is not registered any more; register it again`,
    { subject: { namespace, collection: name, type: typeName } },
  );
}
