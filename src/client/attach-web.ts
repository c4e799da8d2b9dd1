import { Code } from "@connectrpc/connect";
import type * as node from "./attach.ts";
import { ClientError } from "./client-error.ts";

/** A page cannot keep a stream open in both directions. @throws {ClientError} METHOD_UNIMPLEMENTED */
export const attachService: typeof node.attachService = () => {
  const error = new ClientError("METHOD_UNIMPLEMENTED", "a worker needs Node, not a browser", {
    code: Code.Unimplemented,
  });
  return Promise.reject(error);
};
