import { Code, ConnectError } from "@connectrpc/connect";
import type { RecordMeta } from "../../src/gen/collector/common_pb.ts";
import { type ErrorInfo, ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { decodeNote, encodeNote, noteOf } from "./notes.ts";
import type { TestClient } from "./test-client.ts";

/** What was found of a record. */
export interface FoundNote {
  /** The number of the note, if the bytes are exactly those of that note. */
  readonly writing: number | undefined;
  readonly version: bigint;
}

/** Reads every note of a collection, page by page. */
export async function readNotes(
  client: TestClient,
  collectionName: string,
): Promise<Map<string, FoundNote>> {
  const found = new Map<string, FoundNote>();
  let pageToken = "";
  do {
    const page = await client.records.list({ collectionName, pageSize: 1000, pageToken });
    for (const [index, item] of page.items.entries()) {
      const meta = page.metas[index];
      if (meta === undefined) throw new Error("List answers fewer metas than items");
      found.set(meta.id, { writing: writingOf(item.value), version: versionOf(meta) });
    }
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

/** The number of the note that these bytes are, if they are exactly one. */
export function writingOf(bytes: Uint8Array): number | undefined {
  const number = Number(decodeNote(bytes).writing);
  return Buffer.compare(encodeNote(noteOf(number)), bytes) === 0 ? number : undefined;
}

/** The version of a record as the number it stands for. */
export function versionOf(meta: RecordMeta | undefined): bigint {
  const digits = /^"?(\d+)"?$/.exec(meta?.version ?? "")?.[1];
  if (digits === undefined) throw new Error(`"${meta?.version}" is not a version`);
  return BigInt(digits);
}

/** The reason that the server gave; undefined if no server of ours has answered. */
export function reasonOf(error: unknown): string | undefined {
  return errorInfoOf(error)?.reason;
}

export function errorInfoOf(error: unknown): ErrorInfo | undefined {
  return ConnectError.from(error).findDetails(ErrorInfoSchema)[0];
}

/** Reasons after which a write may be done all the same. */
const unsure = new Set([
  "WRITE_OUTCOME_UNKNOWN",
  "STORAGE_UNAVAILABLE",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "INTERNAL",
]);

/** True if the server itself said that it has not done what was asked. */
export function isRefusal(error: unknown): boolean {
  const reason = reasonOf(error);
  return reason !== undefined && !unsure.has(reason);
}

/** True for what a caller sees when the server or the connection to it is gone. */
export function isDisconnect(error: unknown): boolean {
  if (reasonOf(error) !== undefined) return false;
  const { code } = ConnectError.from(error);
  return [Code.Unavailable, Code.Canceled, Code.Aborted, Code.Internal, Code.Unknown].includes(
    code,
  );
}
