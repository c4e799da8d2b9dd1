import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, createFileRegistry, type DescMessage } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  file_google_protobuf_duration,
  file_google_protobuf_wrappers,
  StructSchema,
} from "@bufbuild/protobuf/wkt";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import { type RecordMeta, RecordMetaSchema } from "../gen/collector/common_pb.ts";
import { type FileInfo, FileInfoSchema } from "../gen/collector/files_pb.ts";
import { type Operation, OperationSchema } from "../gen/collector/operations_pb.ts";
import { type JsonWhere, type Where, whereText } from "./where.ts";

/** A type with a wrapper and a duration. */
function wrappers(): DescMessage {
  const field = (name: string, number: number, typeName: string) => ({
    name,
    number,
    label: 1,
    type: 11,
    jsonName: name,
    typeName: `.google.protobuf.${typeName}`,
  });
  const file = create(FileDescriptorProtoSchema, {
    name: "wrappers.proto",
    syntax: "proto3",
    dependency: ["google/protobuf/wrappers.proto", "google/protobuf/duration.proto"],
    messageType: [
      { name: "W", field: [field("nullable", 1, "Int32Value"), field("took", 2, "Duration")] },
    ],
  });
  const known = [file_google_protobuf_wrappers, file_google_protobuf_duration];
  const registry = createFileRegistry(file, (name) =>
    known.find(({ proto }) => proto.name === name),
  );
  const desc = registry.getMessage("W");
  assert.ok(desc !== undefined);
  return desc;
}

describe("whereText", () => {
  it("writes equality and comparisons by proto names, integers exactly", () => {
    const where: Where<FileInfo> = {
      sizeBytes: { ge: 9_007_199_254_740_993n, lt: 9_223_372_036_854_775_807n },
      contentType: "image/png",
    };
    assert.equal(
      whereText(FileInfoSchema, where),
      'size_bytes >= 9007199254740993 AND size_bytes < 9223372036854775807 AND content_type = "image/png"',
    );
  });

  it("keeps what is in a string from being syntax", () => {
    const where: Where<FileInfo> = { sha256: { ne: 'a" OR "\\' } };
    assert.equal(whereText(FileInfoSchema, where), String.raw`sha256 != "a\" OR \"\\"`);
  });

  it("asks texts, times, lists and maps what they can be asked", () => {
    const where: Where<RecordMeta> = {
      id: { prefix: "esp", contains: "-" },
      createdAt: { ge: new Date(0) },
      labels: { has: "color" },
    };
    assert.equal(
      whereText(RecordMetaSchema, where),
      'prefix(id, "esp") AND substring(id, "-") AND created_at >= "1970-01-01T00:00:00.000Z" AND labels:"color"',
    );
    const ofCollection: Where<Collection> = {
      name: { in: ["a", "b"] },
      indexedFields: { has: "price" },
      messageType: { messageName: "shop.v1.Product" },
      expiry: {},
      generation: { exists: false },
    };
    assert.equal(
      whereText(CollectionSchema, ofCollection),
      'in(name, "a", "b") AND indexed_fields:"price" AND message_type.message_name = "shop.v1.Product" AND NOT generation:*',
    );
  });

  it("asks the fields of a oneof, durations and wrappers as what they are", () => {
    const where: Where<Operation> = { done: true, error: { code: { ne: 5 } } };
    assert.equal(whereText(OperationSchema, where), "done = true AND error.code != 5");
    const wrapped = { nullable: { gt: 5 }, took: { lt: "3s" } };
    assert.equal(whereText(wrappers(), wrapped), 'nullable > 5 AND took < "3s"');
  });

  it("takes the names and the numbers of JSON", () => {
    const where: JsonWhere = { size_bytes: { ge: "9007199254740993" }, contentType: "1" };
    assert.equal(
      whereText(FileInfoSchema, where),
      'size_bytes >= 9007199254740993 AND content_type = "1"',
    );
    const ofStruct: JsonWhere = { name: "Ada", born: { year: { lt: 1900 } }, tags: { has: "x" } };
    assert.equal(
      whereText(StructSchema, ofStruct),
      'name = "Ada" AND born.year < 1900 AND tags:"x"',
    );
  });

  it("takes text as it is, and nothing as no condition", () => {
    assert.equal(whereText(FileInfoSchema, "size_bytes > 1"), "size_bytes > 1");
    assert.equal(whereText(FileInfoSchema, undefined), "");
    assert.equal(whereText(FileInfoSchema, {}), "");
  });

  it("names a field that the message lacks", () => {
    assert.throws(() => whereText(FileInfoSchema, { sizes: 1 }), { reason: "FIELD_UNKNOWN" });
  });
});
