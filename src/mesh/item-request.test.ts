import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  create,
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  fromBinary,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, AnySchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { compile } from "../registry/testing/compile.ts";
import { itemRequests } from "./item-request.ts";

const types = createFileRegistry(
  create(FileDescriptorSetSchema, {
    file: compile({
      "t.proto": `syntax = "proto3"; package t; import "google/protobuf/any.proto";
        message Note { string title = 1; repeated string tags = 2; }
        message WithNote { string word = 1; Note note = 2; google.protobuf.Any any = 3; }
        message WithAny { string word = 1; google.protobuf.Any item = 2; repeated Note notes = 3; }
        message WithTwo { Note left = 1; Note right = 2; string word = 3; }
        service T {
          rpc Self(Note) returns (Note);
          rpc Field(WithNote) returns (Note);
          rpc Wrapped(WithAny) returns (Note);
          rpc Other(WithTwo) returns (Note);
        }`,
    }),
  }),
);

function messageType(name: string): DescMessage {
  const desc = types.getMessage(`t.${name}`);
  assert.ok(desc);
  return desc;
}

function method(name: string): DescMethod {
  const desc = types.getService("t.T")?.methods.find((candidate) => candidate.name === name);
  assert.ok(desc);
  return desc;
}

function any(name: string, fields: object): Any {
  const desc = messageType(name);
  const value = toBinary(desc, create(desc, fields as never));
  return create(AnySchema, { typeUrl: `type.googleapis.com/t.${name}`, value });
}

const note = any("Note", { title: "tea", tags: ["a"] });

function request(name: string, input?: Any, item: Any = note, id = "n/1"): unknown {
  const desc = method(name);
  const { input: bytes, context } = itemRequests(desc, "t.Note", input)(id, item);
  const json = toJson(desc.input, fromBinary(desc.input, bytes), { registry: types });
  return [json, Object.fromEntries(context)];
}

describe("the request for a record", () => {
  const id = { "x-collector-item-id": "n%2F1" };
  const base64 = Buffer.from(note.value).toString("base64");

  it("is the record, if the method takes that; the input goes along", () => {
    const json = { title: "tea", tags: ["a"] };
    assert.deepEqual(request("Self"), [json, id]);
    const input = any("WithTwo", { word: "w" });
    const along = { "x-collector-input-bin": Buffer.from(input.value).toString("base64") };
    assert.deepEqual(request("Self", input), [json, { ...id, ...along }]);
  });

  it("is the input with the record in its one field of that type", () => {
    assert.deepEqual(request("Field", any("WithNote", { word: "w" })), [
      { word: "w", note: { title: "tea", tags: ["a"] } },
      id,
    ]);
  });

  it("is the input with the record in its one Any", () => {
    assert.deepEqual(request("Wrapped", any("WithAny", { word: "w" })), [
      { word: "w", item: { "@type": "type.googleapis.com/t.Note", title: "tea", tags: ["a"] } },
      id,
    ]);
  });

  it("is the input, if there is no field for the record, which then goes along", () => {
    assert.deepEqual(request("Other", any("WithTwo", { word: "w" })), [
      { word: "w" },
      { ...id, "x-collector-item-bin": base64 },
    ]);
    assert.deepEqual(request("Other"), [{}, { ...id, "x-collector-item-bin": base64 }]);
  });

  it("is refused if the input is of another type, or has a record already", () => {
    assert.throws(() => request("Other", note), {
      reason: "ARGUMENT_INVALID",
      message: /^input: /,
    });
    assert.throws(() => request("Field", any("WithNote", { note: { title: "x" } })), {
      reason: "ARGUMENT_INVALID",
      message: /^input\.value\.note: is for the record/,
    });
  });

  it("is refused if the record is too large to go along", () => {
    const large = any("Note", { title: "x".repeat(9000) });
    assert.throws(() => request("Other", undefined, large), {
      reason: "MESSAGE_TOO_LARGE",
      message: /^the record has 9003 bytes, and at most 8192 go along/,
    });
    assert.doesNotThrow(() => request("Field", undefined, large));
  });
});
