import { create } from "@bufbuild/protobuf";
import { type Any, AnySchema, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { CollectorError, type ErrorReason } from "../errors.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  ResourceInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";
import { type Status, StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { CallFailure } from "../mesh/channel.ts";
import { detailedStatus, detailsName } from "./outbound/answer-headers.ts";

/** The `domain` of every ErrorInfo this server sends. */
export const errorDomain = "collector";

/** The gRPC code of each reason. A reason without a code does not compile. */
export const codeByReason: Readonly<Record<ErrorReason, Code>> = {
  ARGUMENT_INVALID: Code.InvalidArgument,
  ARGUMENT_MISSING: Code.InvalidArgument,
  NAME_INVALID: Code.InvalidArgument,
  NAMESPACE_MISMATCH: Code.InvalidArgument,
  ID_INVALID: Code.InvalidArgument,
  LABEL_INVALID: Code.InvalidArgument,
  FIELD_UNKNOWN: Code.InvalidArgument,
  ITEM_UNPARSABLE: Code.InvalidArgument,
  ITEM_TYPE_MISMATCH: Code.InvalidArgument,
  JSON_INVALID: Code.InvalidArgument,
  DESCRIPTOR_INVALID: Code.InvalidArgument,
  TYPE_AMBIGUOUS: Code.InvalidArgument,
  PAGE_SIZE_INVALID: Code.InvalidArgument,
  PAGE_TOKEN_INVALID: Code.InvalidArgument,
  QUERY_INVALID: Code.InvalidArgument,
  BATCH_INVALID: Code.InvalidArgument,
  REQUEST_ID_REUSED: Code.InvalidArgument,
  METADATA_INVALID: Code.InvalidArgument,
  ARCHIVE_INVALID: Code.InvalidArgument,
  FILE_NAME_INVALID: Code.InvalidArgument,
  RANGE_INVALID: Code.OutOfRange,
  NAMESPACE_NOT_FOUND: Code.NotFound,
  COLLECTION_NOT_FOUND: Code.NotFound,
  RECORD_NOT_FOUND: Code.NotFound,
  TYPE_NOT_FOUND: Code.NotFound,
  FILE_NOT_FOUND: Code.NotFound,
  SERVICE_NOT_FOUND: Code.NotFound,
  OPERATION_NOT_FOUND: Code.NotFound,
  BACKUP_NOT_FOUND: Code.NotFound,
  POLICY_NOT_FOUND: Code.NotFound,
  TRANSFER_NOT_FOUND: Code.NotFound,
  LINK_NOT_FOUND: Code.NotFound,
  COLLECTOR_NOT_FOUND: Code.NotFound,
  NAMESPACE_EXISTS: Code.AlreadyExists,
  COLLECTION_EXISTS: Code.AlreadyExists,
  RECORD_EXISTS: Code.AlreadyExists,
  FILE_EXISTS: Code.AlreadyExists,
  BACKUP_EXISTS: Code.AlreadyExists,
  SYMBOL_EXISTS: Code.AlreadyExists,
  TYPE_NOT_REGISTERED: Code.InvalidArgument,
  TYPE_IN_USE: Code.FailedPrecondition,
  FILE_IN_USE: Code.FailedPrecondition,
  NAMESPACE_NOT_EMPTY: Code.FailedPrecondition,
  SCHEMA_INCOMPATIBLE: Code.FailedPrecondition,
  OPERATION_RUNNING: Code.FailedPrecondition,
  HISTORY_GONE: Code.FailedPrecondition,
  BACKUP_IN_USE: Code.FailedPrecondition,
  BASE_UNUSABLE: Code.FailedPrecondition,
  ARCHIVE_TOO_NEW: Code.FailedPrecondition,
  KEY_UNAVAILABLE: Code.FailedPrecondition,
  VERSION_MISMATCH: Code.Aborted,
  COLLECTION_REPLACED: Code.Aborted,
  EMBEDDER_UNAVAILABLE: Code.FailedPrecondition,
  SHAPE_OUTDATED: Code.Aborted,
  FILE_MISMATCH: Code.Aborted,
  LINK_INCOMPATIBLE: Code.FailedPrecondition,
  PEER_NOT_COLLECTOR: Code.FailedPrecondition,
  PEER_REFUSED: Code.FailedPrecondition,
  CALL_LOOP: Code.FailedPrecondition,
  HOPS_EXCEEDED: Code.FailedPrecondition,
  SYSTEM_READ_ONLY: Code.PermissionDenied,
  ORIGIN_DENIED: Code.PermissionDenied,
  UNAUTHENTICATED: Code.Unauthenticated,
  PERMISSION_DENIED: Code.PermissionDenied,
  PEER_DENIED: Code.PermissionDenied,
  MESSAGE_TOO_LARGE: Code.ResourceExhausted,
  SCHEMA_LIMIT_EXCEEDED: Code.ResourceExhausted,
  FILE_TOO_LARGE: Code.ResourceExhausted,
  QUOTA_EXCEEDED: Code.ResourceExhausted,
  DISK_FULL: Code.ResourceExhausted,
  OVERLOADED: Code.ResourceExhausted,
  LINK_LIMIT_EXCEEDED: Code.ResourceExhausted,
  DEADLINE_EXCEEDED: Code.DeadlineExceeded,
  QUERY_TIMEOUT: Code.DeadlineExceeded,
  CANCELLED: Code.Canceled,
  METHOD_UNIMPLEMENTED: Code.Unimplemented,
  METHOD_NOT_REGISTERED: Code.Unimplemented,
  SHUTTING_DOWN: Code.Unavailable,
  PEER_UNAVAILABLE: Code.Unavailable,
  SERVICE_UNAVAILABLE: Code.Unavailable,
  STORAGE_UNAVAILABLE: Code.Unavailable,
  WRITE_OUTCOME_UNKNOWN: Code.Unknown,
  STORAGE_CORRUPT: Code.DataLoss,
  ARCHIVE_DAMAGED: Code.DataLoss,
  CONTENT_MISMATCH: Code.DataLoss,
  ANSWER_INVALID: Code.Internal,
  INTERNAL: Code.Internal,
};

/** The same failure as a message, to be kept in a record. */
export function toStatus(error: unknown): Status {
  const status = toConnectError(error);
  const { code, rawMessage: message } = status;
  return create(StatusSchema, { code, message, details: packDetails(status) });
}

/** The details of a failure that fit in `bytesMax`: of more, the last ones are left out. */
export function packDetails(
  error: ConnectError,
  bytesMax: number = Number.POSITIVE_INFINITY,
): Any[] {
  const result: Any[] = [];
  let bytes = 0;
  for (const detail of error.details) {
    const any =
      "desc" in detail
        ? anyPack(detail.desc, create(detail.desc, detail.value))
        : create(AnySchema, {
            typeUrl: `type.googleapis.com/${detail.type}`,
            value: detail.value,
          });
    bytes += any.typeUrl.length + any.value.byteLength;
    if (bytes > bytesMax) break;
    result.push(any);
  }
  return result;
}

/** What of a subject names the resource of a ResourceInfo, the most specific first. */
const resourceKeys = ["id", "operation", "collection", "service", "type", "file", "namespace"];

/**
 * The wire form of a failure: code, message and `google.rpc` details.
 *
 * What is not a {@link CollectorError} is a bug: the caller learns only the request id, under which
 * the log has the rest.
 */
export function toConnectError(error: unknown, requestId?: string): ConnectError {
  if (error instanceof ConnectError) return error;
  if (error instanceof CollectorError) return fromCollectorError(error);
  if (error instanceof CallFailure) return fromCallFailure(error);
  if (error instanceof DOMException && error.name === "AbortError") {
    return fromCollectorError(new CollectorError("CANCELLED", "the call was cancelled"));
  }
  const result = fromCollectorError(
    new CollectorError("INTERNAL", "the server failed; its log has the details", { cause: error }),
  );
  if (requestId !== undefined) {
    result.details.push({
      desc: RequestInfoSchema,
      value: create(RequestInfoSchema, { requestId }),
    });
  }
  return result;
}

/** Another server's status passes as it came: code, message, details and metadata. */
function fromCallFailure(failure: CallFailure): ConnectError {
  const { reason, message, code, trailers } = failure;
  if (reason !== undefined) {
    return fromCollectorError(new CollectorError(reason, message, { cause: failure }));
  }
  const metadata = trailers.filter(([name]) => name !== detailsName);
  const result = new ConnectError(message, code, metadata.map(copyOf), undefined, failure);
  const details = detailedStatus(trailers)?.details ?? [];
  for (const { typeUrl, value } of details) {
    result.details.push({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value });
  }
  return result;
}

function copyOf([name, value]: readonly [string, string]): [string, string] {
  return [name, value];
}

function fromCollectorError(error: CollectorError): ConnectError {
  const result = new ConnectError(
    error.message,
    codeByReason[error.reason],
    undefined,
    undefined,
    error,
  );
  result.details.push({
    desc: ErrorInfoSchema,
    value: create(ErrorInfoSchema, {
      reason: error.reason,
      domain: errorDomain,
      metadata: { ...error.subject },
    }),
  });
  if (error.violations.length > 0) {
    result.details.push({
      desc: BadRequestSchema,
      value: create(BadRequestSchema, { fieldViolations: error.violations.map((v) => ({ ...v })) }),
    });
  }
  if (error.retryAfterMs !== undefined) {
    const seconds = Math.floor(error.retryAfterMs / 1000);
    const nanos = Math.round((error.retryAfterMs - seconds * 1000) * 1e6);
    result.details.push({
      desc: RetryInfoSchema,
      value: create(RetryInfoSchema, { retryDelay: { seconds: BigInt(seconds), nanos } }),
    });
  }
  const key = resourceKeys.find((name) => error.subject[name] !== undefined);
  if (key !== undefined && isAboutResource(result.code)) {
    result.details.push({
      desc: ResourceInfoSchema,
      value: create(ResourceInfoSchema, {
        resourceType: key === "id" ? "record" : key,
        resourceName: error.subject[key] ?? "",
        description: error.message,
      }),
    });
  }
  return result;
}

function isAboutResource(code: Code): boolean {
  return code === Code.NotFound || code === Code.AlreadyExists || code === Code.Aborted;
}
