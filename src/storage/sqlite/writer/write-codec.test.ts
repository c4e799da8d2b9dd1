import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { DerivedData, Write, WriteStep } from "../../record-store.ts";
import { packWrites, unpackWrites } from "./write-codec.ts";

const bigint = fc.bigInt(-(2n ** 63n), 2n ** 63n - 1n);
/** What crosses to another thread comes back as plain objects. */
const plain = { noNullPrototype: true } as const;
const bytes = fc.uint8Array({ maxLength: 9 });
const derived: fc.Arbitrary<DerivedData> = fc.record(
  {
    document: fc.string(),
    shape: bigint,
    texts: fc.array(fc.array(fc.string(), { maxLength: 3 }), { maxLength: 3 }),
    vectors: fc.array(
      fc.oneof(fc.constantFrom("keep" as const, undefined), fc.float32Array({ maxLength: 5 })),
      { maxLength: 3 },
    ),
    expiresUs: fc.option(bigint, { nil: undefined }),
  },
  plain,
);
const content = fc.tuple(derived, bytes).map(([found, data]) => ({ ...found, data }));
const id = fc.string();
const labels = fc.dictionary(fc.string(), fc.string(), plain);
const ifVersion = fc.option(bigint, { nil: undefined });
const allowMissing = fc.boolean();
const optionalContent = fc.option(content, { nil: undefined });
const step: fc.Arbitrary<WriteStep> = fc.oneof(
  fc.record({ kind: fc.constant("create" as const), id, content, labels }),
  fc.record({
    kind: fc.constant("update" as const),
    id,
    content: optionalContent,
    labels: fc.option(labels, { nil: undefined }),
    ifVersion,
    allowMissing,
  }),
  fc.record({ kind: fc.constant("delete" as const), id, ifVersion, allowMissing }),
  fc.record({ kind: fc.constant("derive" as const), id, ifVersion: bigint, derived }),
  fc.record({ kind: fc.constant("expire" as const), id }),
  fc.record({
    kind: fc.constant("replay" as const),
    id,
    content,
    labels,
    revision: bigint,
    createdRevision: bigint,
    createdUs: bigint,
    updatedUs: bigint,
  }),
  fc.record({
    kind: fc.constant("replayDelete" as const),
    id,
    revision: bigint,
    atUs: bigint,
  }),
);
const write: fc.Arbitrary<Write> = fc.record({
  steps: fc.array(step, { maxLength: 4 }),
  request: fc.option(fc.record({ id, fingerprint: id }, plain), {
    nil: undefined,
  }),
  wantsBefore: fc.boolean(),
});

describe("packWrites", () => {
  it("brings every write over whole, however their bytes lie beside each other", () => {
    fc.assert(
      fc.property(fc.array(write, { maxLength: 4 }), (writes) => {
        const outgoing = writes.map((one, call) => ({
          call,
          storeKey: `s/${call}`,
          nowUs: BigInt(call),
          write: one,
        }));
        const incoming = unpackWrites(structuredClone(packWrites(outgoing)));
        assert.equal(incoming.length, writes.length);
        for (const [call, unpacked] of incoming.entries()) {
          const { steps, request, wantsBefore } = writes[call] ?? assert.fail();
          assert.deepEqual([unpacked.call, unpacked.storeKey], [call, `s/${call}`]);
          assert.deepEqual([unpacked.request, unpacked.wantsBefore], [request, wantsBefore]);
          assert.deepEqual(unpacked.steps, steps.map(toIncoming));
        }
      }),
    );
  });
});

function toIncoming(step: WriteStep): unknown {
  const content = "content" in step ? step.content : undefined;
  const { data, ...found } = content ?? { data: undefined };
  const own = content === undefined ? undefined : found;
  return {
    kind: step.kind,
    id: step.id,
    ifVersion: "ifVersion" in step ? step.ifVersion : undefined,
    allowMissing: "allowMissing" in step && step.allowMissing === true,
    labels: "labels" in step && step.labels ? JSON.stringify(step.labels) : undefined,
    derived: step.kind === "derive" ? step.derived : own,
    data,
    replayed: toReplayed(step),
  };
}

function toReplayed(step: WriteStep): unknown {
  if (step.kind === "replay") {
    const { revision, createdRevision, createdUs, updatedUs } = step;
    return { revision, createdRevision, createdUs, updatedUs };
  }
  if (step.kind !== "replayDelete") return undefined;
  const { revision, atUs } = step;
  return { revision, createdRevision: 0n, createdUs: 0n, updatedUs: atUs };
}
