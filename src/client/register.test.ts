import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { planCalls } from "./register.ts";

function file(name: string, dependency: string[] = [], bytes = 0): FileDescriptorProto {
  return create(FileDescriptorProtoSchema, { name, dependency, package: "x".repeat(bytes) });
}

function names(calls: FileDescriptorProto[][]): string[][] {
  return calls.map((call) => call.map(({ name }) => name));
}

describe("planCalls", () => {
  it("sends a file together with everything it imports", () => {
    const files = [file("a"), file("b", ["a"]), file("c", ["b", "a"])];
    assert.deepEqual(names(planCalls(files)), [["a", "b", "c"]]);
  });

  it("sends no file twice", () => {
    const files = [file("a"), file("b", ["a"]), file("c", ["a"])];
    assert.deepEqual(names(planCalls(files)), [["a", "c"], ["b"]]);
  });

  it("sends imports ahead that are too big for one call together", () => {
    const half = 300 * 1024;
    const files = [file("a", [], half), file("b", ["a"], half), file("c", ["b"])];
    assert.deepEqual(names(planCalls(files)), [["a"], ["b"], ["c"]]);
  });

  it("leaves out imports that it was not given", () => {
    assert.deepEqual(names(planCalls([file("b", ["registered-before"])])), [["b"]]);
  });
});
