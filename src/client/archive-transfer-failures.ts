import { Code } from "@connectrpc/connect";
import { ClientError } from "./client-error.ts";

/** What no server of this kind answers. */
export function unexpected(message: string): ClientError {
  return new ClientError("UNRECOGNIZED", message, { code: Code.FailedPrecondition });
}

/** What came is not what was sent, and may come better the next time. */
export function mismatch(message: string): ClientError {
  return new ClientError("CONTENT_MISMATCH", message, { code: Code.Aborted });
}
