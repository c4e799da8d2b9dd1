import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  createFileRegistry,
  type DescFile,
  type DescMessage,
  type FileRegistry,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { damagedBytes, wireBytes } from "../../collections/testing/arbitraries.ts";
import { compileProtos, kindsProto } from "../../collections/testing/compile.ts";
import {
  CreateRequestSchema,
  file_collector_collection_server,
  GetRequestSchema,
} from "../../gen/collector/collection_server_pb.ts";
import {
  file_collector_dispatcher,
  ServeRequestSchema,
} from "../../gen/collector/dispatcher_pb.ts";
import { checkWire, isSurely } from "../../lib/wire-check.ts";
import { decodeMessage, decodeOwned, decodeUsual } from "./message-decoder.ts";

/** What there is to say of bytes: the message that they are, or that they are none. */
function outcome(decode: () => Message): Message | "none" {
  try {
    return decode();
  } catch {
    return "none";
  }
}

/** The same message as it is usually written; random ones of proto2 may lack what is required. */
function writtenAnew(desc: DescMessage, bytes: Uint8Array): Uint8Array {
  try {
    return toBinary(desc, fromBinary(desc, bytes));
  } catch {
    return bytes;
  }
}

/** Of whatever bytes, the decoder and the check say what the runtime says. */
function agrees(desc: DescMessage, types: FileRegistry, numRuns: number): void {
  const asRead = wireBytes(desc, types);
  const asWritten = asRead.map((bytes) => writtenAnew(desc, bytes));
  const bytes = fc.oneof(asRead, asWritten, damagedBytes(desc, types));
  fc.assert(
    fc.property(bytes, (some) => {
      const expected = outcome(() => fromBinary(desc, some));
      assert.deepEqual(
        outcome(() => decodeMessage(desc, some)),
        expected,
      );
      const isRefused = outcome(() => {
        checkWire(desc, some);
        return create(desc);
      });
      assert.equal(isRefused === "none", expected === "none");
    }),
    { numRuns },
  );
}

/** A file behind all it imports. */
function withImports(file: DescFile): DescFile[] {
  return [...file.dependencies.flatMap(withImports), file];
}

const contract = [file_collector_collection_server, file_collector_dispatcher];
const files = new Set(contract.flatMap(withImports).map((file) => file.proto));
const contractTypes = createFileRegistry(create(FileDescriptorSetSchema, { file: [...files] }));

const requests: readonly (readonly [DescMessage, Message])[] = [
  [GetRequestSchema, create(GetRequestSchema, { collectionName: "notes", id: "ä€😀" })],
  [
    CreateRequestSchema,
    create(CreateRequestSchema, {
      namespace: "default",
      collectionName: "notes",
      id: "x".repeat(200),
      item: { typeUrl: "type.googleapis.com/a.B", value: Uint8Array.of(1, 2, 3) },
      labels: { a: "b", "": "" },
    }),
  ],
  [
    ServeRequestSchema,
    create(ServeRequestSchema, {
      namespace: "default",
      service: { namespace: "default", serviceName: "pricing.v1.Pricing" },
      methodName: "Quote",
      input: { typeUrl: "type.googleapis.com/a.B", value: new Uint8Array(1000).fill(200) },
      executionContext: { tenant: "é" },
    }),
  ],
];

describe("decodeMessage and checkWire", () => {
  it("read every request and answer of the contract as the runtime does", () => {
    for (const { services } of contract) {
      for (const { methods } of services) {
        for (const { input, output } of methods) {
          agrees(input, contractTypes, 60);
          agrees(output, contractTypes, 60);
        }
      }
    }
  });

  it("read a field of every kind as the runtime does", () => {
    const types = compileProtos({ "kinds.proto": kindsProto });
    const desc = types.getMessage("kinds.v1.Kinds");
    assert.ok(desc !== undefined);
    agrees(desc, types, 1000);
  });

  it("read the requests of every day without the runtime", () => {
    for (const [desc, request] of requests) {
      const bytes = toBinary(desc, request);
      for (const given of [bytes, Buffer.from(bytes)]) {
        assert.deepEqual(decodeUsual(desc, given), fromBinary(desc, bytes));
        assert.ok(isSurely(desc, given));
      }
    }
  });

  it("leave to the runtime what is cut, comes in parts, is no UTF-8, or is not known", () => {
    for (const [desc, request] of requests) {
      const bytes = toBinary(desc, request);
      assert.equal(isSurely(desc, bytes.subarray(0, -1)), false);
      assert.equal(decodeUsual(desc, bytes.subarray(0, -1)), undefined);
      const unknown = Uint8Array.of(...bytes, 0x78, 1);
      assert.equal(decodeUsual(desc, unknown), undefined);
      assert.deepEqual(decodeMessage(desc, unknown), fromBinary(desc, unknown));
    }
    const inParts = toBinary(ServeRequestSchema, create(ServeRequestSchema, { service: {} }));
    const twice = Uint8Array.of(...inParts, ...inParts);
    assert.equal(decodeUsual(ServeRequestSchema, twice), undefined);
    const notText = toBinary(GetRequestSchema, create(GetRequestSchema, { id: "aa" }));
    notText.set([0xc3, 0x28], notText.byteLength - 2);
    assert.throws(() => decodeMessage(GetRequestSchema, notText));
    assert.throws(() => checkWire(GetRequestSchema, notText));
  });

  it("let a message that is kept pin no more than itself", () => {
    const large = new Uint8Array(64 * 1024);
    for (const [desc, request] of requests) {
      const bytes = toBinary(desc, request);
      large.set(bytes, 7);
      const view = large.subarray(7, 7 + bytes.byteLength);
      const owned = decodeOwned(desc, view);
      assert.deepEqual(owned, request);
      const unknown = Uint8Array.of(...bytes, 0x78, 1);
      large.set(unknown, 7);
      const other = decodeOwned(desc, large.subarray(7, 7 + unknown.byteLength));
      large.fill(0);
      // What was read is still what it was.
      assert.deepEqual(owned, request);
      assert.deepEqual(other, fromBinary(desc, unknown));
    }
  });

  it("give no two messages the same list, map or oneof", () => {
    const bytes = new Uint8Array();
    const [one, other] = [0, 1].map(() => decodeMessage(ServeRequestSchema, bytes));
    assert.deepEqual(one, other);
    assert.notEqual(
      (one as Message & { executionContext: object }).executionContext,
      (other as Message & { executionContext: object }).executionContext,
    );
  });
});
