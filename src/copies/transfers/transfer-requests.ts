import { formatVersion } from "../../archive/format.ts";
import { checkCollectionName, refuseSystemWrite } from "../../collections/names.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { PushCollectionRequest_Metadata } from "../../gen/collector/collection_repo_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { checkNamespaceName } from "../../registry/names.ts";
import type { ArchiveArrival } from "./install-archive.ts";

/** What a sender says before it sends an archive. */
export type PushMetadata = Omit<PushCollectionRequest_Metadata, "$typeName" | "$unknown">;

/** What is to become of an archive: a collection, nothing, or a backup. */
export type PushPurpose = "install" | "verify" | "keep";

/** A push whose metadata make sense. */
export interface PushRequest {
  /** Empty: a cut begins anew. */
  readonly transferId: string;
  readonly offset: bigint;
  /** Undefined: told at the end. */
  readonly sizeBytes: number | undefined;
  readonly purpose: PushPurpose;
  /** Lower-case hex; empty: not checked. */
  readonly sha256: string;
  readonly arrival: ArchiveArrival;
}

const transferIdPattern = /^[A-Za-z0-9-]{16,64}$/;
const digestBytes = 32;

/**
 * @param namespace of the call, for a source that names none
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, NAME_INVALID, SYSTEM_READ_ONLY,
 * ARCHIVE_TOO_NEW, FILE_TOO_LARGE
 */
export function checkPush(
  metadata: PushMetadata,
  namespace: string,
  limits: Pick<Limits, "archiveBytesMax">,
): PushRequest {
  const { transferId, offset, totalSize, sizeUnknown, sha256, verifyOnly, keepAsBackup } = metadata;
  if (transferId !== "" && !transferIdPattern.test(transferId)) {
    throw invalid("transfer_id", "is none: 16 to 64 of A-Z a-z 0-9 -");
  }
  checkFormat(formatVersion, metadata.formatVersion);
  if (sizeUnknown && totalSize !== 0n) {
    throw invalid("size_unknown", "and total_size exclude each other");
  }
  if (totalSize === 0n && !sizeUnknown) {
    throw missing("total_size", "does not say how large the archive is");
  }
  if (totalSize < 0n) throw invalid("total_size", "is negative");
  if (totalSize > BigInt(limits.archiveBytesMax)) {
    throw invalidField(
      "FILE_TOO_LARGE",
      "total_size",
      `the archive has ${totalSize} bytes, the limit archiveBytesMax is ${limits.archiveBytesMax}`,
    );
  }
  if (offset < 0n || (offset > totalSize && !sizeUnknown)) {
    throw invalid("offset", `is ${offset}, and the archive has ${totalSize} bytes`);
  }
  if (offset > 0n && transferId === "") throw invalid("offset", "needs the transfer_id it is of");
  if (sha256.length !== 0 && sha256.length !== digestBytes) {
    throw invalid("sha256", `has ${sha256.length} bytes instead of ${digestBytes}`);
  }
  if (verifyOnly && sha256.length > 0) {
    throw invalid(
      "sha256",
      "and verify_only exclude each other: the archive has its own checksums",
    );
  }
  if (verifyOnly && keepAsBackup) {
    throw invalid("keep_as_backup", "and verify_only exclude each other");
  }
  return {
    transferId,
    offset,
    sizeBytes: sizeUnknown ? undefined : Number(totalSize),
    purpose: verifyOnly ? "verify" : keepAsBackup ? "keep" : "install",
    sha256: Buffer.from(sha256).toString("hex"),
    arrival: arrivalOf(metadata, namespace),
  };
}

/** @throws {CollectorError} ARCHIVE_TOO_NEW if an archive of format `written` is not for who reads `read` */
export function checkFormat(read: number, written: number): void {
  // 0 stands for the first one.
  const [reads, writes] = [Math.max(read, 1), Math.max(written, 1)];
  if (read < 0 || written < 0) throw invalid("format_version", "is negative");
  if (writes <= reads) return;
  const description = `the archive has format ${writes}, and its receiver reads up to ${reads}`;
  throw new CollectorError(
    "ARCHIVE_TOO_NEW",
    `format_version: ${description}; use a newer version there`,
    { violations: [{ field: "format_version", description }] },
  );
}

export function transferNotFound(transferId: string): CollectorError {
  const problem =
    transferId === ""
      ? "names no transfer"
      : "there is no transfer of this id, or it is forgotten; begin anew";
  return new CollectorError("TRANSFER_NOT_FOUND", `transfer_id: ${problem}`, {
    subject: { transfer: transferId.slice(0, 64) },
  });
}

/** Whether two pushes are about the same archive, to be put in the same place. */
export function isSamePush(one: PushRequest, other: PushRequest): boolean {
  const identity = (request: PushRequest): string => {
    const { offset: _, ...rest } = request;
    return JSON.stringify(rest, (_key, value: unknown) =>
      typeof value === "bigint" ? String(value) : value,
    );
  };
  return identity(one) === identity(other);
}

function arrivalOf(metadata: PushMetadata, namespace: string): ArchiveArrival {
  const { sourceCollection: source, destNamespace, destName, overwrite, refresh } = metadata;
  const { baseRevision, baseIncarnation, messageType } = metadata;
  if (overwrite && refresh) throw invalid("refresh", "and overwrite exclude each other");
  if (baseRevision < 0n) throw invalid("base_revision", "is negative");
  const sourceNamespace = source?.namespace === "" ? namespace : (source?.namespace ?? "");
  const destination = {
    namespace: destNamespace === "" ? sourceNamespace : destNamespace,
    name: destName === "" ? (source?.name ?? "") : destName,
  };
  // What is not said is taken from the archive, and checked then.
  if (destination.namespace !== "") checkNamespaceName(destination.namespace, "dest_namespace");
  if (destination.name !== "") checkCollectionName(destination.name, "dest_name");
  refuseSystemWrite(destination.namespace);
  const isDelta = baseRevision > 0n;
  if (isDelta && baseIncarnation === "") {
    throw missing("base_incarnation", "does not say what base_revision is of");
  }
  return {
    ...destination,
    mode: overwrite ? "replace" : refresh || isDelta ? "refresh" : "create",
    includeFiles: metadata.includeFiles,
    recordCount: metadata.recordCount,
    fileCount: metadata.fileCount,
    messageName: messageType?.messageName ?? "",
    base: isDelta ? { incarnation: baseIncarnation, revision: baseRevision } : undefined,
  };
}

function invalid(field: string, description: string): CollectorError {
  return invalidField("ARGUMENT_INVALID", field, description);
}

function missing(field: string, description: string): CollectorError {
  return invalidField("ARGUMENT_MISSING", field, description);
}
