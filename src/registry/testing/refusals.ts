import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { CollectorError, type ErrorReason } from "../../errors.ts";
import { openRegistry } from "./open-registry.ts";

/** A file that must not be registered. */
export interface Refusal {
  readonly name: string;
  readonly file: FileDescriptorProto;
  /** Part of the message. */
  readonly says: string;
  readonly reason?: ErrorReason;
}

/** Proves that each file is refused for its reason, and that nothing of it stays. */
export function describeRefusals(title: string, refusals: readonly Refusal[]): void {
  describe(title, () => {
    for (const { name, file, says, reason = "DESCRIPTOR_INVALID" } of refusals) {
      it(name, async () => {
        const { registry, protos } = await openRegistry();
        const request = { namespace: "default", file, dependencies: [], validateOnly: false };
        await assert.rejects(registry.registerFile(request), (error) => {
          assert.ok(error instanceof CollectorError, String(error));
          assert.ok(error.message.includes(says), error.message);
          assert.equal(error.reason, reason, error.message);
          assert.equal(error.violations[0]?.field, "file_descriptor");
          assert.ok(error.message.length < 1000);
          return true;
        });
        assert.deepEqual(protos.ids, []);
      });
    }
  });
}
