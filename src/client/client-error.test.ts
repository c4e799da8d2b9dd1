import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { CollectorError, invalidField } from "../errors.ts";
import { toConnectError } from "../rpc/status.ts";
import { toClientError } from "./client-error.ts";

const url = "http://127.0.0.1:50051";

describe("toClientError", () => {
  it("gives back the reason, the subject and the fields that the server sent", () => {
    const sent = toConnectError(invalidField("ID_INVALID", "id", "must not be empty"));
    const error = toClientError(sent, url);
    assert.equal(error.reason, "ID_INVALID");
    assert.equal(error.code, Code.InvalidArgument);
    assert.deepEqual(error.violations, [{ field: "id", description: "must not be empty" }]);
    const missing = toConnectError(
      new CollectorError("RECORD_NOT_FOUND", "no record", { subject: { id: "ada" } }),
    );
    assert.deepEqual(toClientError(missing, url).subject, { id: "ada" });
  });

  it("says when to try again", () => {
    const sent = toConnectError(new CollectorError("OVERLOADED", "busy", { retryAfterMs: 1500 }));
    const error = toClientError(sent, url);
    assert.equal(error.retryAfterMs, 1500);
    assert.equal(error.retryable, true);
  });

  it("has a reason for a server that does not answer", () => {
    const error = toClientError(new ConnectError("connect ECONNREFUSED", Code.Unavailable), url);
    assert.equal(error.reason, "CONNECTION_FAILED");
    assert.equal(error.message, `cannot reach ${url}: connect ECONNREFUSED`);
  });

  it("keeps the code of a failure that it has no reason for", () => {
    const error = toClientError(new ConnectError("odd", Code.DataLoss), url);
    assert.deepEqual([error.reason, error.code], ["UNRECOGNIZED", Code.DataLoss]);
  });
});
