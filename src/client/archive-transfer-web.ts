import { Code } from "@connectrpc/connect";
import type * as node from "./archive-transfer.ts";
import { ClientError } from "./client-error.ts";

/** Browsers have no files to write archives to. @throws {ClientError} METHOD_UNIMPLEMENTED */
export const downloadArchive: typeof node.downloadArchive = () => Promise.reject(noFiles());

/** Browsers have no files to read archives from. @throws {ClientError} METHOD_UNIMPLEMENTED */
export const uploadArchive: typeof node.uploadArchive = () => Promise.reject(noFiles());

/** Browsers have no files to read archives from. @throws {ClientError} METHOD_UNIMPLEMENTED */
export const verifyArchive: typeof node.verifyArchive = () => Promise.reject(noFiles());

/** Browsers have no files to read archives from. @throws {ClientError} METHOD_UNIMPLEMENTED */
export const keepArchive: typeof node.keepArchive = () => Promise.reject(noFiles());

function noFiles(): ClientError {
  return new ClientError("METHOD_UNIMPLEMENTED", "archives in files need Node, not a browser", {
    code: Code.Unimplemented,
  });
}
