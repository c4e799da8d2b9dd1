import { ClientError, type ClientErrorReason } from "../client/client-error.ts";
import { CollectorError, type ErrorReason, type FieldViolation } from "../errors.ts";
import { type ExitCode, exitCodes } from "./exit-codes.ts";
import { CliError, codeOf, type Failure } from "./failure.ts";
import { ProtoCompileError } from "./proto/problem.ts";

const hintByReason: Readonly<Partial<Record<ClientErrorReason, string>>> = {
  CONNECTION_FAILED: "start a server with `collector start`, or name another with --url",
  CONNECTION_BROKEN: "`collector status` says whether it is back; a write may have been done",
  COLLECTION_NOT_FOUND: "`collector collection list` shows the collections there are",
  NAMESPACE_NOT_FOUND: "`collector namespace list` shows the namespaces there are",
  TYPE_NOT_FOUND: "`collector schema list` shows the types; `collector schema add FILE` adds some",
  TYPE_NOT_REGISTERED: "add the type with `collector schema add FILE`",
  SERVICE_NOT_FOUND: "`collector service list` shows the services there are",
  COLLECTION_EXISTS: "choose another name, or look at it with `collector collection show`",
  BACKUP_NOT_FOUND: "`collector backup list` shows the backups there are",
  BACKUP_IN_USE: "first remove those that are based on it",
  BASE_UNUSABLE: "`--incremental` takes the newest base that is possible, or none",
  POLICY_NOT_FOUND: "`collector backup policy list` shows the policies there are",
  ARCHIVE_DAMAGED: "`collector backup verify` says what is wrong with a backup",
  KEY_UNAVAILABLE:
    "the server reads its keys from the file that COLLECTOR_BACKUP_IDENTITY_FILE names",
  LINK_NOT_FOUND: "`collector mesh list` shows the links there are",
  LINK_LIMIT_EXCEEDED: "remove a link with `collector mesh leave`",
  PEER_DENIED: "the server that dials has to name the other in `--peers`",
  STORAGE_CORRUPT:
    "`collector collection reindex` mends damaged indexes; for records there is `collector backup restore`",
  OPERATION_RUNNING: "`collector ops list` shows what is under way",
  RECORD_NOT_FOUND: "`collector record list` shows the records there are",
  FILE_NOT_FOUND:
    "`collector file list` shows attached files, `collector schema list --files` those of types",
  FILE_EXISTS: "leave out --create to replace the file",
  FIELD_UNKNOWN: "`collector collection show` shows the fields there are",
  OPERATION_NOT_FOUND: "`collector ops list` shows the operations there are",
  NAMESPACE_NOT_EMPTY: "first remove its collections and files",
  SCHEMA_INCOMPATIBLE: "keep what is registered as it is, and add fields with new numbers",
  SERVICE_UNAVAILABLE:
    "`collector service show` says what runs it, `collector service attach` adds more",
  VERSION_MISMATCH: "read it again: somebody has changed it meanwhile",
  QUERY_TIMEOUT: "`--explain` says which index would help",
  RECORD_EXISTS: "leave out --create to replace the record",
  DEADLINE_EXCEEDED: "allow more time with --timeout",
  UNAUTHENTICATED: "set COLLECTOR_TOKEN",
};

/** What to tell about anything that was thrown. */
export function toFailure(error: unknown): Failure {
  if (error instanceof CliError) {
    const { code, message, field, hint, exitCode } = error;
    return { code, message, field, hint, retryable: false, exitCode };
  }
  if (error instanceof ClientError) {
    if (isUntrusted(error)) return untrusted(error);
    return {
      code: error.reason,
      message: withId(error),
      field: fieldsOf(error.violations),
      hint: hintByReason[error.reason],
      retryable: error.retryable,
      exitCode: exitCodeByStatus[error.status] ?? exitCodes.failed,
    };
  }
  if (error instanceof ProtoCompileError) {
    const { message } = error;
    return { code: "SCHEMA_INVALID", message, retryable: false, exitCode: exitCodes.failed };
  }
  if (error instanceof CollectorError) {
    const { reason, message, violations } = error;
    const field = fieldsOf(violations);
    const exitCode = exitCodeByReason[reason] ?? exitCodes.failed;
    return { code: reason, message, field, retryable: false, exitCode };
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    const message = "interrupted";
    return { code: "INTERRUPTED", message, retryable: true, exitCode: exitCodes.interrupted };
  }
  const text = error instanceof Error ? error.message : String(error);
  return { code: "INTERNAL", message: text, retryable: false, exitCode: exitCodes.failed };
}

/** What OpenSSL says of a certificate that no known authority has signed. */
const untrustedCodes: ReadonlySet<string | undefined> = new Set([
  "DEPTH_ZERO_SELF_SIGNED_CERT",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
]);

function isUntrusted(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  return untrustedCodes.has(codeOf(error)) || isUntrusted(error.cause);
}

function untrusted({ message }: ClientError): Failure {
  return {
    code: "CERTIFICATE_UNTRUSTED",
    message: `the server's certificate is not trusted: ${message.split(";")[0]}`,
    hint: "name the certificate, or its authority's, in NODE_EXTRA_CA_CERTS",
    retryable: false,
    exitCode: exitCodes.unavailable,
  };
}

/** Exit codes of a server that does not start. */
const exitCodeByReason: Readonly<Partial<Record<ErrorReason, ExitCode>>> = {
  ARGUMENT_INVALID: exitCodes.usage,
  STORAGE_UNAVAILABLE: exitCodes.unavailable,
};

/** Exit codes by the name of the gRPC status. */
const exitCodeByStatus: Readonly<Record<string, ExitCode>> = {
  NotFound: exitCodes.notFound,
  Unauthenticated: exitCodes.auth,
  PermissionDenied: exitCodes.auth,
  AlreadyExists: exitCodes.conflict,
  Aborted: exitCodes.conflict,
  FailedPrecondition: exitCodes.conflict,
  Unavailable: exitCodes.unavailable,
};

/** Names the record, where the message leaves that to the subject. */
function withId({ message, subject }: ClientError): string {
  const { id } = subject;
  return id === undefined || message.includes(id) ? message : `${message}: ${id}`;
}

function fieldsOf(violations: readonly FieldViolation[]): string | undefined {
  return violations.length === 0 ? undefined : violations.map(({ field }) => field).join(", ");
}
