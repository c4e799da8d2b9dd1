import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type DescMessage, fromJson, type JsonValue, toBinary } from "@bufbuild/protobuf";
import { VectorSchema } from "../gen/collector/collection_server_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import type { StoreShape } from "../storage/store-layout.ts";
import { type DeriveGiven, DerivePlan, type ExpirySource } from "./derive/derive-plan.ts";
import { createParts, updateParts } from "./record-requests.ts";
import { readVectors } from "./side-vectors.ts";
import { testTypes } from "./testing/fixture.ts";

const kinds = testTypes.getMessage("kinds.v1.Kinds") as DescMessage;

function planOf(
  fields: readonly string[],
  vectors: Readonly<Record<string, string>> = {},
  expiry?: ExpirySource,
): DerivePlan {
  const weighted = fields.map((name) => ({ name, weight: 1 }));
  const shape: StoreShape = {
    version: 7n,
    texts: [{ definition: { tokenizer: "words", fields: weighted }, state: "ready" }],
    vectors: Object.keys(vectors).map((name) => ({
      definition: { name, dimensions: 2, metric: name.startsWith("l2") ? "l2" : "cosine" },
      state: "ready",
    })),
  };
  const vectorPaths = new Map(Object.entries(vectors).filter(([, path]) => path !== ""));
  const limits = { ...defaultLimits, recordTextCharsMax: 40 };
  return new DerivePlan({ desc: kinds, types: testTypes, shape, limits, vectorPaths, expiry });
}

function derived(plan: DerivePlan, json: JsonValue, given: Partial<DeriveGiven> = {}) {
  const bytes = toBinary(kinds, fromJson(kinds, json, { registry: testTypes }));
  return plan.derive(bytes, { writtenUs: 0n, ...given });
}

describe("what a definition has derived", () => {
  it("takes the text of a path, through lists, maps, messages and JSON", () => {
    const plan = planOf([
      "string_value",
      "children.tags",
      "labels",
      "labels.b",
      "child",
      "extra.a.b",
    ]);
    const { texts, shape } = derived(plan, {
      stringValue: "one",
      children: [{ tags: ["t1", "t2"] }, { tags: ["t3"] }, {}],
      labels: { a: "la", b: "lb" },
      child: { stringValue: "in", child: { boxedText: "deep" } },
      extra: { a: [{ b: "x" }, { b: ["y", 3, "z"] }, "no"] },
    });
    assert.equal(shape, 7n);
    assert.deepEqual(texts, [["one", "t1\nt2\nt3", "la\nlb", "lb", "in\ndeep", "x\ny\nz"]]);
  });

  it("takes all text beside some, and no more of an index than its limit", () => {
    const plan = planOf(["maybe_text", "", "string_value"]);
    const { texts } = derived(plan, { stringValue: "a".repeat(30), maybeText: "b".repeat(5) });
    const [maybe, all, value] = texts[0] ?? [];
    assert.equal(maybe, "bbbbb");
    assert.equal(all, `${"a".repeat(30)}\nbbbb`);
    assert.equal(value, "");
    assert.deepEqual(derived(planOf(["gone.since"]), {}).texts, [[""]]);
  });

  it("takes vectors from the message, and refuses those that do not fit", () => {
    const plan = planOf([], { inside: "child.doubles", l2: "doubles" });
    const { vectors } = derived(plan, { child: { doubles: [0.1, 3] } });
    assert.deepEqual(vectors, [Float32Array.of(0.1, 3), undefined]);
    const wrong = (json: JsonValue, message: RegExp): void => {
      assert.throws(() => derived(plan, json), { reason: "ARGUMENT_INVALID", message });
      assert.deepEqual(derived(plan, json, { isLenient: true }).vectors, [undefined, undefined]);
    };
    wrong({ child: { doubles: [1] } }, /^item\.child\.doubles: has 1 numbers; .* has 2, .* inside/);
    wrong({ child: { doubles: [1, "NaN"] } }, /\[1\] is not finite/);
    wrong({ child: { doubles: [1, 1e39] } }, /\[1\] is not finite/);
    wrong({ child: { doubles: [0, 1e-30] } }, /has no direction/);
    assert.deepEqual(derived(plan, { doubles: [0, 0] }).vectors, [
      undefined,
      Float32Array.of(0, 0),
    ]);
  });

  it("takes vectors from beside the message, and names those that do not fit", () => {
    const plan = planOf([], { image: "", inside: "doubles" });
    const read = (given: Record<string, number[]>) =>
      readVectors(
        Object.fromEntries(
          Object.entries(given).map(([name, values]) => [name, create(VectorSchema, { values })]),
        ),
        plan,
        "operations[2].create.vectors",
      );
    const at = "operations\\[2\\]\\.create\\.vectors";
    assert.equal(read({}), undefined);
    const vectors = read({ image: [1, 2] });
    assert.deepEqual(derived(plan, {}, { vectors }).vectors, [Float32Array.of(1, 2), undefined]);
    assert.deepEqual(derived(plan, {}, { keepsVectors: true }).vectors, ["keep", undefined]);
    const removed = read({ image: [] });
    assert.deepEqual(derived(plan, {}, { vectors: removed, keepsVectors: true }).vectors, [
      undefined,
      undefined,
    ]);
    const wrong = (given: Record<string, number[]>, reason: string, message: string): void => {
      assert.throws(() => read(given), { reason, message: new RegExp(`^${at}\\[${message}`) });
    };
    wrong({ imag: [1, 2] }, "FIELD_UNKNOWN", '"imag"\\]: .* did you mean image');
    wrong({ inside: [1, 2] }, "ARGUMENT_INVALID", '"inside"\\]: is read from the record');
    wrong({ image: [1, 2, 3] }, "ARGUMENT_INVALID", '"image"\\]: has 3 numbers');
    wrong({ image: [1, Number.NaN] }, "ARGUMENT_INVALID", '"image"\\]: \\[1\\] is not finite');
    wrong({ image: [0, 0] }, "ARGUMENT_INVALID", '"image"\\]: has no direction');
    wrong({ __proto__x: [1] }, "FIELD_UNKNOWN", '"__proto__x"\\]');
  });

  it("counts vectors to what makes a request the same", () => {
    const of = (values: number[]) => ({ image: create(VectorSchema, { values }) });
    const common = { id: "a", item: undefined, labels: {}, requestId: "r", validateOnly: false };
    const update = {
      ...common,
      updateMask: [],
      updateLabels: false,
      ifMatch: "",
      allowMissing: false,
    };
    for (const parts of [
      (values: number[]) => createParts({ ...common, vectors: of(values) }),
      (values: number[]) => updateParts({ ...update, vectors: of(values) }),
    ]) {
      assert.deepEqual(parts([1, 2]), parts([1, 2]));
      assert.notDeepEqual(parts([1, 2]), parts([1, 3]));
      assert.notDeepEqual(parts([]), parts([0]));
    }
  });

  it("says when a record expires: at its time, or so long after its last write", () => {
    const at = planOf([], {}, { kind: "timestamp", path: "child.created" });
    const created = "2026-11-23T22:00:00.123456789Z";
    assert.equal(
      derived(at, { child: { created } }).expiresUs,
      BigInt(Date.parse("2026-11-23T22:00:00.123Z")) * 1000n + 456n,
    );
    assert.equal(derived(at, { child: {} }).expiresUs, undefined);
    assert.equal(derived(at, {}).expiresUs, undefined);
    const before = derived(at, { child: { created: "1969-12-31T23:59:59.5Z" } });
    assert.equal(before.expiresUs, -500_000n);
    const later = planOf([], {}, { kind: "timeToLive", us: 5n });
    assert.equal(derived(later, {}, { writtenUs: 100n }).expiresUs, 105n);
    assert.equal(derived(planOf([]), {}).expiresUs, undefined);
  });
});
