import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import {
  ArchiveChangeSchema,
  ArchiveManifestSchema,
  ArchivePartSchema,
  file_collector_archive,
} from "../gen/collector/archive_pb.ts";
import { RegisteredProtoSchema } from "../gen/collector/registry_pb.ts";
import { isTooHeavy, wireWeight } from "./wire-weight.ts";

setFlagsFromString("--expose-gc");
const collectGarbage: unknown = runInNewContext("gc");

/** Bytes on the heap and beside it. */
function memoryInUse(): number {
  assert.ok(typeof collectGarbage === "function");
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** What a message takes in memory, without its bytes on the wire. */
function measure(desc: DescMessage, bytes: Uint8Array): number {
  fromBinary(desc, bytes);
  const before = memoryInUse();
  const message = fromBinary(desc, bytes);
  const taken = memoryInUse() - before;
  assert.equal(message.$typeName, desc.typeName);
  return taken;
}

/** A field many times over. */
function repeated(number: number, value: Uint8Array, times: number): Uint8Array {
  const one = new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(value).finish();
  return Buffer.concat(Array.from<Uint8Array>({ length: times }).fill(one));
}

/** What takes much more memory than bytes on the wire, and what writers make. */
const samples: Readonly<Record<string, readonly [DescMessage, Uint8Array]>> = {
  "fields that are not known": [
    ArchiveManifestSchema,
    Buffer.from("f87f00".repeat(100_000), "hex"),
  ],
  "empty files": [FileDescriptorSetSchema, repeated(1, new Uint8Array(), 50_000)],
  "empty messages": [FileDescriptorProtoSchema, repeated(4, new Uint8Array(), 50_000)],
  "numbers behind one length": [
    FileDescriptorProtoSchema,
    repeated(10, new Uint8Array(100_000), 1),
  ],
  parts: [
    ArchiveManifestSchema,
    repeated(
      ArchiveManifestSchema.field.parts.number,
      toBinary(
        ArchivePartSchema,
        create(ArchivePartSchema, {
          name: `files/${"a".repeat(64)}`,
          sizeBytes: 1n,
          sha256: new Uint8Array(32),
        }),
      ),
      20_000,
    ),
  ],
  "a record": [
    ArchiveChangeSchema,
    toBinary(
      ArchiveChangeSchema,
      create(ArchiveChangeSchema, {
        entry: {
          case: "written",
          value: {
            labels: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`l${i}`, "value"])),
            vectors: { a: { values: Array.from({ length: 100_000 }, (_, i) => i / 3) } },
            data: new Uint8Array(1_000_000),
          },
        },
      }),
    ),
  ],
};

describe("The weight of a message", () => {
  for (const [what, [desc, bytes]] of Object.entries(samples)) {
    it(`is about what it takes in memory: ${what}`, () => {
      const taken = measure(desc, bytes);
      const weight = wireWeight(desc, bytes);
      assert.ok(weight > taken * 0.9, `${weight} is less than the ${taken} bytes that it takes`);
      assert.ok(weight < taken * 4, `${weight} is far more than the ${taken} bytes that it takes`);
    });
  }

  it("is told of every message that is read, and ends with what is none", () => {
    const file = toBinary(FileDescriptorProtoSchema, file_collector_archive.proto);
    const whole = wireWeight(FileDescriptorProtoSchema, file);
    assert.ok(whole > file.length && whole < 20 * file.length, `${whole} for ${file.length} bytes`);
    for (let length = 0; length < file.length; length += 7) {
      assert.ok(wireWeight(FileDescriptorProtoSchema, file.subarray(0, length)) <= whole);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
        assert.ok(Number.isSafeInteger(wireWeight(RegisteredProtoSchema, bytes)));
      }),
      { numRuns: 2000 },
    );
  });

  it("is not followed further than to its limit", () => {
    const bytes = repeated(1, new Uint8Array(), 1000);
    const heavy = wireWeight(FileDescriptorSetSchema, bytes, 10_000);
    assert.ok(heavy > 10_000 && heavy < 12_000, String(heavy));
    assert.equal(isTooHeavy(FileDescriptorSetSchema, bytes, 10_000), true);
    assert.equal(isTooHeavy(FileDescriptorSetSchema, bytes, 1_000_000), false);
  });
});
