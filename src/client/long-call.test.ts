import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { CloneResponseSchema } from "../gen/collector/collection_repo_pb.ts";
import { type Operation, OperationSchema } from "../gen/collector/operations_pb.ts";
import { type ClientError, connectionBroken } from "./client-error.ts";
import { longCall } from "./long-call.ts";
import type { Services } from "./services.ts";

/** Operations of a server that is waited for with these outcomes, one after the other. */
function waitingFor(outcomes: readonly (Operation | ClientError)[]): Services["operations"] {
  const left = [...outcomes];
  const waitOperation = async (): Promise<Operation> => {
    const outcome = left.shift();
    if (outcome === undefined || outcome instanceof Error) throw outcome;
    return outcome;
  };
  return { waitOperation } as unknown as Services["operations"];
}

describe("the wait for long work", () => {
  it("goes on after a connection that broke, and fails if the server stays away", async () => {
    const operation = create(OperationSchema, { name: "operations/1" });
    const response = create(CloneResponseSchema, { recordsCloned: 7n });
    const done = create(OperationSchema, {
      name: "operations/1",
      done: true,
      result: { case: "response", value: anyPack(CloneResponseSchema, response) },
    });
    const begin = async () => create(CloneResponseSchema, { operation });
    const broken = connectionBroken("http://127.0.0.1:1", undefined);
    const wait = (outcomes: readonly (Operation | ClientError)[]) =>
      longCall(waitingFor(outcomes), CloneResponseSchema, begin, {});
    assert.equal((await wait([broken, operation, done])).recordsCloned, 7n);
    const away = Array.from({ length: 6 }, () => broken);
    await assert.rejects(wait([...away, done]), { reason: "CONNECTION_BROKEN" });
  });
});
