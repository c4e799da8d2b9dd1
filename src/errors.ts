/** Every way a request can fail. Clients switch on these strings: add, never rename. */
export type ErrorReason =
  // The request is wrong and will stay wrong.
  | "ARGUMENT_INVALID"
  | "ARGUMENT_MISSING"
  | "NAME_INVALID"
  | "NAMESPACE_MISMATCH"
  | "ID_INVALID"
  | "LABEL_INVALID"
  | "FIELD_UNKNOWN"
  | "ITEM_UNPARSABLE"
  | "ITEM_TYPE_MISMATCH"
  | "JSON_INVALID"
  | "DESCRIPTOR_INVALID"
  | "TYPE_AMBIGUOUS"
  | "PAGE_SIZE_INVALID"
  | "PAGE_TOKEN_INVALID"
  | "QUERY_INVALID"
  | "BATCH_INVALID"
  | "REQUEST_ID_REUSED"
  | "METADATA_INVALID"
  | "ARCHIVE_INVALID"
  | "FILE_NAME_INVALID"
  | "RANGE_INVALID"
  // Something that the request names is not there.
  | "NAMESPACE_NOT_FOUND"
  | "COLLECTION_NOT_FOUND"
  | "RECORD_NOT_FOUND"
  | "TYPE_NOT_FOUND"
  | "FILE_NOT_FOUND"
  | "SERVICE_NOT_FOUND"
  | "OPERATION_NOT_FOUND"
  | "BACKUP_NOT_FOUND"
  | "POLICY_NOT_FOUND"
  | "TRANSFER_NOT_FOUND"
  | "LINK_NOT_FOUND"
  | "COLLECTOR_NOT_FOUND"
  // Something is there already.
  | "NAMESPACE_EXISTS"
  | "COLLECTION_EXISTS"
  | "RECORD_EXISTS"
  | "FILE_EXISTS"
  | "BACKUP_EXISTS"
  | "SYMBOL_EXISTS"
  // The state of the server has to change first.
  | "TYPE_NOT_REGISTERED"
  | "TYPE_IN_USE"
  | "FILE_IN_USE"
  | "NAMESPACE_NOT_EMPTY"
  | "SCHEMA_INCOMPATIBLE"
  | "OPERATION_RUNNING"
  | "HISTORY_GONE"
  | "BACKUP_IN_USE"
  | "BASE_UNUSABLE"
  | "ARCHIVE_TOO_NEW"
  | "KEY_UNAVAILABLE"
  | "VERSION_MISMATCH"
  | "COLLECTION_REPLACED"
  | "EMBEDDER_UNAVAILABLE"
  | "SHAPE_OUTDATED"
  | "FILE_MISMATCH"
  | "LINK_INCOMPATIBLE"
  | "PEER_NOT_COLLECTOR"
  | "PEER_REFUSED"
  | "CALL_LOOP"
  | "HOPS_EXCEEDED"
  // The caller may not.
  | "SYSTEM_READ_ONLY"
  | "ORIGIN_DENIED"
  | "UNAUTHENTICATED"
  | "PERMISSION_DENIED"
  | "PEER_DENIED"
  // A limit is reached.
  | "MESSAGE_TOO_LARGE"
  | "SCHEMA_LIMIT_EXCEEDED"
  | "FILE_TOO_LARGE"
  | "QUOTA_EXCEEDED"
  | "DISK_FULL"
  | "OVERLOADED"
  | "LINK_LIMIT_EXCEEDED"
  // Time is up.
  | "DEADLINE_EXCEEDED"
  | "QUERY_TIMEOUT"
  | "CANCELLED"
  // Nothing here answers to that method.
  | "METHOD_UNIMPLEMENTED"
  | "METHOD_NOT_REGISTERED"
  // The server has a problem.
  | "SHUTTING_DOWN"
  | "PEER_UNAVAILABLE"
  | "SERVICE_UNAVAILABLE"
  | "STORAGE_UNAVAILABLE"
  | "WRITE_OUTCOME_UNKNOWN"
  | "STORAGE_CORRUPT"
  | "ARCHIVE_DAMAGED"
  | "CONTENT_MISMATCH"
  | "ANSWER_INVALID"
  | "INTERNAL";

/** One field of a request that is at fault. */
export interface FieldViolation {
  /** Path of the field in the request, by proto names, as in `item.price_cents`. */
  readonly field: string;
  /** What is wrong, and what would be valid. */
  readonly description: string;
}

export interface CollectorErrorOptions extends ErrorOptions {
  /** What failed, as in `{ collection: "people", id: "ada" }`. Sent to clients: no secrets. */
  readonly subject?: Readonly<Record<string, string>>;
  /** The fields at fault. */
  readonly violations?: readonly FieldViolation[];
  /** When a retry may help, in milliseconds from now. */
  readonly retryAfterMs?: number;
}

/** A failure the caller can act on. Anything else that is thrown is a bug in this server. */
export class CollectorError extends Error {
  override readonly name = "CollectorError";
  readonly reason: ErrorReason;
  readonly subject: Readonly<Record<string, string>>;
  readonly violations: readonly FieldViolation[];
  readonly retryAfterMs: number | undefined;

  constructor(reason: ErrorReason, message: string, options: CollectorErrorOptions = {}) {
    super(message, options);
    this.reason = reason;
    this.subject = options.subject ?? {};
    this.violations = options.violations ?? [];
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** An argument of a request that is not valid, named by its field. */
export function invalidField(
  reason: ErrorReason,
  field: string,
  description: string,
): CollectorError {
  return new CollectorError(reason, `${field}: ${description}`, {
    violations: [{ field, description }],
  });
}
