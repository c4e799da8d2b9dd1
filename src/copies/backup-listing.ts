import { invalidField } from "../errors.ts";
import type {
  BackupMetadata,
  ListBackupsRequest,
  ListBackupsResponse,
} from "../gen/collector/collection_repo_pb.ts";
import { encodePageToken, readPage } from "../lib/page-token.ts";

const limitDefault = 100;
const limitMax = 1000;

export type BackupsQuery = Pick<
  ListBackupsRequest,
  "collection" | "namespace" | "limit" | "sinceTimestamp" | "pageToken" | "setId"
>;

/**
 * A page of backups.
 *
 * @param backups the newest first
 * @throws {CollectorError} ARGUMENT_INVALID, PAGE_TOKEN_INVALID
 */
export function listBackups(
  backups: readonly BackupMetadata[],
  request: BackupsQuery,
): Omit<ListBackupsResponse, "$typeName" | "status"> {
  const { collection, namespace, limit, sinceTimestamp, pageToken, setId } = request;
  if (limit < 0) {
    throw invalidField("ARGUMENT_INVALID", "limit", `is ${limit}; send 0 to ${limitMax}`);
  }
  const query = [
    "ListBackups",
    namespace,
    collection?.namespace ?? "",
    collection?.name ?? "",
    String(sinceTimestamp),
    setId,
  ];
  const limits = { pageSizeDefault: limitDefault, pageSizeMax: limitMax };
  const { size, after } = readPage({ pageSize: limit, pageToken }, query, limits);
  const matching = backups.filter(
    (backup) =>
      (namespace === "" || backup.collection?.namespace === namespace) &&
      (collection === undefined || isOf(backup, collection)) &&
      (setId === "" || backup.setId === setId) &&
      backup.timestamp >= sinceTimestamp,
  );
  const rest = after === undefined ? matching : matching.filter(({ backupId }) => backupId < after);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  const isLast = last === undefined || rest.length <= size;
  return {
    backups: page,
    totalCount: BigInt(matching.length),
    nextPageToken: isLast ? "" : encodePageToken(query, last.backupId),
  };
}

function isOf(
  backup: BackupMetadata,
  { namespace, name }: { readonly namespace: string; readonly name: string },
): boolean {
  const { collection } = backup;
  return (
    (namespace === "" || collection?.namespace === namespace) &&
    (name === "" || collection?.name === name)
  );
}
