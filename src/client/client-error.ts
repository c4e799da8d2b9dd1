import { Code, ConnectError } from "@connectrpc/connect";
import type { ErrorReason, FieldViolation } from "../errors.ts";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";

/**
 * Every way a call can fail, as the caller sees it: what the server says, and what it cannot say.
 *
 * CONNECTION_FAILED: no server answered. CONNECTION_BROKEN: the server was lost in the middle of the call, and nobody
 * can tell how much of it was done. UNRECOGNIZED: a failure that this client has no reason for, of a newer server or
 * of something in between; its `code` tells what kind it is.
 */
export type ClientErrorReason =
  | ErrorReason
  | "CONNECTION_FAILED"
  | "CONNECTION_BROKEN"
  | "UNRECOGNIZED";

/** For each reason, whether the same call may succeed later without anything else being done. */
const retryableByReason: Readonly<Record<ClientErrorReason, boolean>> = {
  ARGUMENT_INVALID: false,
  ARGUMENT_MISSING: false,
  NAME_INVALID: false,
  NAMESPACE_MISMATCH: false,
  ID_INVALID: false,
  LABEL_INVALID: false,
  FIELD_UNKNOWN: false,
  ITEM_UNPARSABLE: false,
  ITEM_TYPE_MISMATCH: false,
  JSON_INVALID: false,
  DESCRIPTOR_INVALID: false,
  TYPE_AMBIGUOUS: false,
  PAGE_SIZE_INVALID: false,
  PAGE_TOKEN_INVALID: false,
  QUERY_INVALID: false,
  BATCH_INVALID: false,
  REQUEST_ID_REUSED: false,
  METADATA_INVALID: false,
  ARCHIVE_INVALID: false,
  FILE_NAME_INVALID: false,
  RANGE_INVALID: false,
  NAMESPACE_NOT_FOUND: false,
  COLLECTION_NOT_FOUND: false,
  RECORD_NOT_FOUND: false,
  TYPE_NOT_FOUND: false,
  FILE_NOT_FOUND: false,
  SERVICE_NOT_FOUND: false,
  OPERATION_NOT_FOUND: false,
  BACKUP_NOT_FOUND: false,
  POLICY_NOT_FOUND: false,
  TRANSFER_NOT_FOUND: false,
  LINK_NOT_FOUND: false,
  COLLECTOR_NOT_FOUND: false,
  NAMESPACE_EXISTS: false,
  COLLECTION_EXISTS: false,
  RECORD_EXISTS: false,
  FILE_EXISTS: false,
  BACKUP_EXISTS: false,
  SYMBOL_EXISTS: false,
  TYPE_NOT_REGISTERED: false,
  TYPE_IN_USE: false,
  FILE_IN_USE: false,
  NAMESPACE_NOT_EMPTY: false,
  SCHEMA_INCOMPATIBLE: false,
  OPERATION_RUNNING: true,
  HISTORY_GONE: false,
  BACKUP_IN_USE: false,
  BASE_UNUSABLE: false,
  ARCHIVE_TOO_NEW: false,
  KEY_UNAVAILABLE: false,
  VERSION_MISMATCH: false,
  COLLECTION_REPLACED: true,
  EMBEDDER_UNAVAILABLE: false,
  SHAPE_OUTDATED: true,
  FILE_MISMATCH: false,
  LINK_INCOMPATIBLE: false,
  PEER_NOT_COLLECTOR: false,
  PEER_REFUSED: false,
  CALL_LOOP: false,
  HOPS_EXCEEDED: false,
  SYSTEM_READ_ONLY: false,
  ORIGIN_DENIED: false,
  UNAUTHENTICATED: false,
  PERMISSION_DENIED: false,
  PEER_DENIED: false,
  MESSAGE_TOO_LARGE: false,
  SCHEMA_LIMIT_EXCEEDED: false,
  FILE_TOO_LARGE: false,
  QUOTA_EXCEEDED: false,
  DISK_FULL: true,
  OVERLOADED: true,
  LINK_LIMIT_EXCEEDED: false,
  DEADLINE_EXCEEDED: false,
  QUERY_TIMEOUT: false,
  CANCELLED: false,
  METHOD_UNIMPLEMENTED: false,
  METHOD_NOT_REGISTERED: false,
  SHUTTING_DOWN: true,
  PEER_UNAVAILABLE: true,
  SERVICE_UNAVAILABLE: true,
  STORAGE_UNAVAILABLE: true,
  WRITE_OUTCOME_UNKNOWN: false,
  STORAGE_CORRUPT: false,
  ARCHIVE_DAMAGED: false,
  CONTENT_MISMATCH: true,
  ANSWER_INVALID: false,
  INTERNAL: false,
  CONNECTION_FAILED: true,
  CONNECTION_BROKEN: false,
  UNRECOGNIZED: false,
};

/** What transports report without a server's word. */
const reasonByCode: Readonly<Partial<Record<Code, ClientErrorReason>>> = {
  [Code.Canceled]: "CANCELLED",
  [Code.DeadlineExceeded]: "DEADLINE_EXCEEDED",
  [Code.Unauthenticated]: "UNAUTHENTICATED",
  [Code.PermissionDenied]: "PERMISSION_DENIED",
  [Code.Unimplemented]: "METHOD_UNIMPLEMENTED",
  [Code.Unavailable]: "CONNECTION_FAILED",
};

export interface ClientErrorOptions extends ErrorOptions {
  readonly code: Code;
  readonly subject?: Readonly<Record<string, string>>;
  readonly violations?: readonly FieldViolation[];
  readonly retryAfterMs?: number | undefined;
  readonly requestId?: string | undefined;
}

/** A call that failed. Everything the client throws because of a call is one of these. */
export class ClientError extends Error {
  override readonly name = "ClientError";
  readonly reason: ClientErrorReason;
  /** The gRPC code. */
  readonly code: Code;
  /** What failed, as in `{ collection: "people", id: "ada" }`. */
  readonly subject: Readonly<Record<string, string>>;
  /** The fields of the request at fault. */
  readonly violations: readonly FieldViolation[];
  /** When the server suggests to try again, in milliseconds from now. */
  readonly retryAfterMs: number | undefined;
  /** Where the server's log has more, for a failure of its own. */
  readonly requestId: string | undefined;

  constructor(reason: ClientErrorReason, message: string, options: ClientErrorOptions) {
    super(message, options);
    this.reason = reason;
    this.code = options.code;
    this.subject = options.subject ?? {};
    this.violations = options.violations ?? [];
    this.retryAfterMs = options.retryAfterMs;
    this.requestId = options.requestId;
  }

  /** The name of the gRPC code, as in `NotFound`. */
  get status(): string {
    return Code[this.code];
  }

  /** Whether the same call may succeed later. A call that may have been done is not among them. */
  get retryable(): boolean {
    return retryableByReason[this.reason];
  }
}

/** The server was lost in the middle of a call. */
export function connectionBroken(url: string, cause: unknown): ClientError {
  const message = `the connection to ${url} broke`;
  return new ClientError("CONNECTION_BROKEN", message, { code: Code.Unavailable, cause });
}

/** Whether no server was there, or none any more. */
export function isUnreached(error: unknown): boolean {
  if (!(error instanceof ClientError)) return false;
  return error.reason === "CONNECTION_FAILED" || error.reason === "CONNECTION_BROKEN";
}

/** The {@link ClientError} of whatever a call threw. */
export function toClientError(error: unknown, url: string): ClientError {
  if (error instanceof ClientError) return error;
  const source = ConnectError.from(error);
  if (source.cause instanceof ClientError) return source.cause;
  const [info] = source.findDetails(ErrorInfoSchema);
  const [badRequest] = source.findDetails(BadRequestSchema);
  const [retryInfo] = source.findDetails(RetryInfoSchema);
  const [requestInfo] = source.findDetails(RequestInfoSchema);
  const reason = reasonOf(info?.reason, source.code);
  const delay = retryInfo?.retryDelay;
  return new ClientError(reason, messageOf(reason, source, url), {
    cause: error,
    code: source.code,
    subject: info?.metadata ?? {},
    violations: (badRequest?.fieldViolations ?? []).map(({ field, description }) => ({
      field,
      description,
    })),
    retryAfterMs:
      delay === undefined ? undefined : Number(delay.seconds) * 1000 + delay.nanos / 1_000_000,
    requestId: requestInfo?.requestId,
  });
}

function reasonOf(sent: string | undefined, code: Code): ClientErrorReason {
  if (sent === undefined) return reasonByCode[code] ?? "UNRECOGNIZED";
  return isReason(sent) ? sent : "UNRECOGNIZED";
}

function isReason(text: string): text is ClientErrorReason {
  return Object.hasOwn(retryableByReason, text);
}

function messageOf(reason: ClientErrorReason, error: ConnectError, url: string): string {
  if (reason !== "CONNECTION_FAILED") return error.rawMessage;
  return `cannot reach ${url}: ${error.rawMessage}`;
}
