import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  createFileRegistry,
  type DescFile,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  toBinary,
} from "@bufbuild/protobuf";

import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { wireBytes } from "../../collections/testing/arbitraries.ts";
import { compileProtos, kindsProto } from "../../collections/testing/compile.ts";
import { file_collector_collection_repo } from "../../gen/collector/collection_repo_pb.ts";
import {
  file_collector_collection_server,
  GetResponseSchema,
} from "../../gen/collector/collection_server_pb.ts";
import { file_collector_type_registry } from "../../gen/collector/type_registry_pb.ts";
import { encodeMessage } from "./message-encoder.ts";

/** What the encoder makes of random messages of a type is what the runtime makes of them. */
function agrees(desc: DescMessage, types: FileRegistry, numRuns: number): void {
  fc.assert(
    fc.property(wireBytes(desc, types), (bytes) => {
      const message = fromBinary(desc, bytes);
      assert.equal(
        hexOf(() => encodeMessage(desc, message, 0)),
        hexOf(() => toBinary(desc, message)),
      );
    }),
    { numRuns },
  );
}

/** Random messages of proto2, as in options, may lack what is required: then there are no bytes. */
function hexOf(encode: () => Uint8Array): string {
  try {
    return Buffer.from(encode()).toString("hex");
  } catch (error) {
    return String(error);
  }
}

/** A file behind all it imports. */
function withImports(file: DescFile): DescFile[] {
  return [...file.dependencies.flatMap(withImports), file];
}

describe("encodeMessage", () => {
  it("writes every answer of the contract as the runtime does, to the byte", () => {
    const contract = [
      file_collector_collection_server,
      file_collector_collection_repo,
      file_collector_type_registry,
    ];
    const files = new Set(contract.flatMap(withImports).map((file) => file.proto));
    const types = createFileRegistry(create(FileDescriptorSetSchema, { file: [...files] }));
    for (const { services } of contract) {
      for (const { methods } of services) {
        for (const { output } of methods) agrees(output, types, 40);
      }
    }
  });

  it("writes a field of every kind as the runtime does", () => {
    const types = compileProtos({ "kinds.proto": kindsProto });
    const desc = types.getMessage("kinds.v1.Kinds");
    assert.ok(desc !== undefined);
    agrees(desc, types, 500);
  });

  it("leaves room in front, and is empty again for the next message", () => {
    const message = create(GetResponseSchema, { meta: { id: "ä€😀", version: "7" } });
    const expected = Buffer.from(toBinary(GetResponseSchema, message));
    for (let time = 0; time < 3; time += 1) {
      const encoded = encodeMessage(GetResponseSchema, message, 5);
      assert.deepEqual(encoded.subarray(5), expected);
    }
  });

  it("writes messages that are larger than its first buffer", () => {
    for (const size of [16_383, 16_384, 100_000, 3_000_000]) {
      const value = new Uint8Array(size).fill(7);
      const message = create(GetResponseSchema, { item: { typeUrl: "t/x.Y", value } });
      const encoded = encodeMessage(GetResponseSchema, message, 0);
      assert.deepEqual(encoded, Buffer.from(toBinary(GetResponseSchema, message)));
    }
  });

  it("forgets what it had written when a message cannot be encoded", () => {
    const broken = create(GetResponseSchema, { meta: { id: "x" } });
    Object.assign(broken, { records: undefined });
    assert.throws(() => encodeMessage(GetResponseSchema, broken, 0));
    const message = create(GetResponseSchema, { meta: { id: "y" } });
    const expected = Buffer.from(toBinary(GetResponseSchema, message));
    assert.deepEqual(encodeMessage(GetResponseSchema, message, 0), expected);
  });
});
