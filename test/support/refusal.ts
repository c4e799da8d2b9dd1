import assert from "node:assert/strict";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import { reasonOf } from "./found.ts";

/** How a call was refused. */
export interface Refusal {
  readonly code: string;
  readonly reason: string | undefined;
  /** Fields named as being at fault. */
  readonly fields: readonly string[];
  readonly message: string;
}

/** What an answer must not tell a caller: SQL, stacks, paths of the server. */
const inside = /\bSELECT\b|\bINSERT\b|SQLITE|\n\s+at |\/tmp\/|node:internal|\.ts:\d/;

/** True if a message tells nothing of how the server is made. */
export function isFitForCallers(message: string): boolean {
  return !inside.test(message);
}

/** The refusal of a call that must not succeed. */
export async function refusalOf(call: Promise<unknown>): Promise<Refusal> {
  let refused: unknown;
  try {
    await call;
  } catch (error) {
    refused = error;
  }
  assert.ok(refused !== undefined, "the call was not refused");
  const error = ConnectError.from(refused);
  assert.ok(isFitForCallers(error.message), error.message);
  const fields = error
    .findDetails(BadRequestSchema)
    .flatMap(({ fieldViolations }) => fieldViolations.map(({ field }) => field));
  return { code: Code[error.code], reason: reasonOf(error), fields, message: error.rawMessage };
}
