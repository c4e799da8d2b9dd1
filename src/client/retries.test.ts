import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescMethodUnary } from "@bufbuild/protobuf";
import { Code, type Transport } from "@connectrpc/connect";
import { CollectionService, CreateRequestSchema } from "../gen/collector/collection_server_pb.ts";
import { ClientError } from "./client-error.ts";
import { withRetries } from "./retries.ts";

const { get, create: createRecord } = CollectionService.method;

const broken = (): ClientError =>
  new ClientError("CONNECTION_FAILED", "reset", { code: Code.Unavailable });
const refused = (): ClientError =>
  new ClientError("OVERLOADED", "busy", { code: Code.ResourceExhausted, retryAfterMs: 1 });

/** Fails with these, one a call, and then answers how many calls there were. */
function flaky(failures: ClientError[]): { transport: Transport; calls: () => number } {
  let calls = 0;
  const transport = {
    unary: () => {
      calls += 1;
      const failure = failures.shift();
      return failure === undefined ? Promise.resolve({ calls }) : Promise.reject(failure);
    },
    stream: () => Promise.reject(new Error("not asked for")),
  } as unknown as Transport;
  return { transport, calls: () => calls };
}

async function call(
  { transport }: { readonly transport: Transport },
  method: DescMethodUnary,
  options: {
    readonly request?: object;
    readonly signal?: AbortSignal;
    readonly timeoutMs?: number;
    readonly retries?: number;
  } = {},
): Promise<unknown> {
  const { request = {}, signal, timeoutMs, retries = 2 } = options;
  const patient = withRetries(transport, { retries, pauseMs: 1 });
  return await patient.unary(method, signal, timeoutMs, undefined, request as never);
}

describe("withRetries", () => {
  it("reads again when the connection breaks, so often and no oftener", async () => {
    assert.deepEqual(await call(flaky([broken(), broken()]), get), { calls: 3 });
    const always = flaky([broken(), broken(), broken(), broken()]);
    await assert.rejects(call(always, get), { reason: "CONNECTION_FAILED" });
    assert.equal(always.calls(), 3);
  });

  it("takes a connection that broke in the middle of a call for one that may have run it", async () => {
    const cut = (): ClientError => new ClientError("UNRECOGNIZED", "cut", { code: Code.Aborted });
    assert.deepEqual(await call(flaky([cut()]), get), { calls: 2 });
    await assert.rejects(call(flaky([cut()]), createRecord), { message: "cut" });
    const conflict = new ClientError("VERSION_MISMATCH", "other", { code: Code.Aborted });
    await assert.rejects(call(flaky([conflict]), get), { reason: "VERSION_MISMATCH" });
  });

  it("gives each try what is left of the deadline, in whole milliseconds", async () => {
    const seen: (number | undefined)[] = [];
    const { transport } = flaky([broken()]);
    const watched = {
      ...transport,
      unary: (...args: Parameters<Transport["unary"]>) => {
        seen.push(args[2]);
        return transport.unary(...args);
      },
    } as Transport;
    await call({ transport: watched }, get, { timeoutMs: 20_000 });
    assert.equal(seen.length, 2);
    for (const ms of seen) assert.ok(Number.isInteger(ms) && Number(ms) <= 20_000, String(ms));
  });

  it("does not run a write twice unless its request id makes that safe", async () => {
    const once = flaky([broken()]);
    await assert.rejects(call(once, createRecord), { reason: "CONNECTION_FAILED" });
    assert.equal(once.calls(), 1);
    const request = create(CreateRequestSchema, { requestId: "r-1" });
    assert.deepEqual(await call(flaky([broken()]), createRecord, { request }), { calls: 2 });
  });

  it("tries again whatever was refused before it ran, when the server says that it may", async () => {
    assert.deepEqual(await call(flaky([refused()]), createRecord), { calls: 2 });
    const full = new ClientError("LIMIT_EXCEEDED" as never, "full", {
      code: Code.ResourceExhausted,
    });
    await assert.rejects(call(flaky([full]), get), { message: "full" });
  });

  it("does not try what another try cannot mend, nor at all if it is told so", async () => {
    const missing = new ClientError("RECORD_NOT_FOUND", "none", { code: Code.NotFound });
    await assert.rejects(call(flaky([missing]), get), { reason: "RECORD_NOT_FOUND" });
    await assert.rejects(call(flaky([broken()]), get, { retries: 0 }), {
      reason: "CONNECTION_FAILED",
    });
  });

  it("ends with its signal and its deadline", async () => {
    const aborted = AbortSignal.abort();
    await assert.rejects(call(flaky([broken()]), get, { signal: aborted }));
    const late = new ClientError("OVERLOADED", "busy", {
      code: Code.ResourceExhausted,
      retryAfterMs: 60_000,
    });
    await assert.rejects(call(flaky([late]), get, { timeoutMs: 1000 }), { reason: "OVERLOADED" });
  });
});
