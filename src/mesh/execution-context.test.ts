import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../errors.ts";
import { contextBytesMax, contextMetadata } from "./execution-context.ts";

describe("the context of a call", () => {
  it("goes as metadata", () => {
    const context = { tenant: "acme", "x-trace-bin": "AP8=", "a.b_c": "" };
    assert.deepEqual(contextMetadata(context, "execution_context"), Object.entries(context));
  });

  it("is refused where metadata cannot hold it, or it would mean something else", () => {
    const refused = [
      ["", "x"],
      ["Tenant", "x"],
      ["ten ant", "x"],
      [":path", "/"],
      ["grpc-timeout", "1S"],
      ["x-collector-namespace", "other"],
      ["x-collector-route", "a"],
      ["authorization", "Bearer x"],
      ["content-type", "text/plain"],
      ["tenant", "grüße"],
      ["tenant", "a\r\nb: c"],
      ["tenant-bin", "not base64!"],
      ["a".repeat(129), "x"],
    ] as const;
    for (const [name, value] of refused) {
      assert.throws(() => contextMetadata({ [name]: value }, "execution_context"), {
        reason: "ARGUMENT_INVALID",
        message: /^execution_context\[/,
      });
    }
    const long = { tenant: "x".repeat(contextBytesMax) };
    assert.throws(() => contextMetadata(long, "execution_context"), {
      message: /^execution_context: has 8198 bytes, and 8192 go as metadata/,
    });
  });

  it("is never anything but safe names and printable values, whatever is sent", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.string()), (context) => {
        try {
          for (const [name, value] of contextMetadata(context, "c")) {
            assert.match(name, /^[0-9a-z_.-]+$/);
            assert.match(value, /^[\x20-\x7e]*$/);
            assert.ok(!name.startsWith("x-collector-") && !name.startsWith("grpc-"));
          }
        } catch (error) {
          assert.ok(error instanceof CollectorError, String(error));
        }
      }),
    );
  });
});
