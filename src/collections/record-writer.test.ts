import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, fromBinary, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import {
  BatchRequestSchema,
  CreateRequestSchema,
  DeleteRequestSchema,
  type ResponseOp,
  UpdateRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import type { UpdatedRecord } from "./record-answers.ts";
import type { RecordCollection } from "./record-collection.ts";
import { anyOfJson, CatalogFixture, product, testTypes } from "./testing/fixture.ts";

const kinds = "kinds.v1.Kinds";

function masked(
  records: RecordCollection,
  key: string,
  value: string,
  more: MessageInitShape<typeof UpdateRequestSchema> = {},
): Promise<UpdatedRecord> {
  const item = anyOfJson(kinds, { labels: { [key]: value } });
  const updateMask = [`labels.\`${key}\``];
  return records.update(create(UpdateRequestSchema, { id: "hot", item, updateMask, ...more }));
}

function plain(records: RecordCollection, text: string): Promise<UpdatedRecord> {
  const item = anyOfJson(kinds, { stringValue: text });
  return records.update(create(UpdateRequestSchema, { id: "hot", item }));
}

async function add(records: RecordCollection, id: string): Promise<void> {
  await records.create(create(CreateRequestSchema, { id, item: anyOfJson(kinds, {}) }));
}

async function labelsOf(records: RecordCollection, id: string): Promise<Record<string, string>> {
  const desc = testTypes.getMessage(kinds);
  assert.ok(desc !== undefined);
  const json = toJson(desc, fromBinary(desc, (await records.get(id)).item.value));
  return (json as { labels?: Record<string, string> }).labels ?? {};
}

function batch(
  records: RecordCollection,
  init: MessageInitShape<typeof BatchRequestSchema>,
): Promise<ResponseOp[]> {
  return records.batch(create(BatchRequestSchema, init));
}

type Ops = NonNullable<MessageInitShape<typeof BatchRequestSchema>["operations"]>;

describe("masked updates of one record", () => {
  it("are applied exactly once each, 64 at a time, in few commits", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("kinds", kinds);
    await add(records, "hot");
    for (let round = 0; round < 4; round += 1) {
      const answers = await Promise.all(
        Array.from({ length: 64 }, (_, index) => masked(records, `k${round}.${index}`, "v")),
      );
      const versions = new Set(answers.map(({ meta }) => meta?.version));
      assert.equal(versions.size, 64, "each update has a version of its own");
    }
    assert.equal(Object.keys(await labelsOf(records, "hot")).length, 256);
    assert.equal((await records.get("hot")).meta.version, "257");
  });

  it("lose nothing and starve nobody beside whole updates, deletes and batches", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("kinds", kinds);
    await add(records, "hot");
    const over = new AbortController();
    let wholeUpdates = 0;
    const whole = async (): Promise<void> => {
      while (!over.signal.aborted) {
        await plain(records, "whole");
        wholeUpdates += 1;
      }
    };
    const rivals = [whole(), whole(), whole()];
    for (let index = 0; index < 100; index += 1) {
      const { meta } = await masked(records, "mine", String(index));
      assert.ok(meta !== undefined);
    }
    const shared = Array.from({ length: 200 }, (_, index) => masked(records, `s${index}`, "v"));
    await Promise.all(shared);
    over.abort();
    await Promise.all(rivals);
    assert.ok(wholeUpdates > 20, `${wholeUpdates} whole updates came through`);
  });

  it("fail one by one: a condition that does not hold fails only its own update", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("kinds", kinds);
    await add(records, "hot");
    const settled = await Promise.allSettled([
      masked(records, "a", "1"),
      masked(records, "b", "1", { ifMatch: "77" }),
      masked(records, "c", "1", { requestId: "once" }),
      masked(records, "c", "1", { requestId: "once" }),
      masked(records, "d", "1"),
      masked(records, "big", "x".repeat(fixture.limits.messageBytesMax + 1)),
      masked(records, "e", "1"),
    ]);
    assert.deepEqual(
      settled.map(({ status }) => status),
      ["fulfilled", "rejected", "fulfilled", "fulfilled", "fulfilled", "rejected", "fulfilled"],
    );
    assert.deepEqual(await labelsOf(records, "hot"), { a: "1", c: "1", d: "1", e: "1" });
    assert.equal((await records.get("hot")).meta.version, "5");
  });

  it("leave out those whose callers have gone before their turn", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("kinds", kinds);
    await add(records, "hot");
    const abort = new AbortController();
    const first = masked(records, "a", "1");
    const item = anyOfJson(kinds, { labels: { b: "1" } });
    const second = records.update(
      create(UpdateRequestSchema, { id: "hot", item, updateMask: ["labels.b"] }),
      { signal: abort.signal },
    );
    abort.abort();
    const settled = await Promise.allSettled([first, second]);
    assert.deepEqual(
      settled.map(({ status }) => status),
      ["fulfilled", "rejected"],
    );
    assert.deepEqual(await labelsOf(records, "hot"), { a: "1" });
  });
});

describe("a batch", () => {
  it("is applied in order, later operations seeing earlier ones, masked ones too", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const operations: Ops = [
      { operation: { case: "create", value: { id: "a", item: product({ title: "one" }) } } },
      {
        operation: {
          case: "update",
          value: { id: "a", item: product({ stock: 5 }), updateMask: ["stock"] },
        },
      },
      { operation: { case: "create", value: { item: product({ title: "two" }) } } },
      {
        operation: {
          case: "update",
          value: { id: "a", item: product({ tags: ["x"] }), updateMask: ["tags"] },
        },
      },
      { operation: { case: "delete", value: { id: "none", allowMissing: true } } },
      { operation: { case: "update", value: { id: "a", labels: { k: "v" } } } },
      {
        operation: {
          case: "update",
          value: { id: "a", item: product({ sku: "s" }), updateMask: ["sku"] },
        },
      },
    ];
    const responses = await batch(records, { operations, namespace: "default" });
    assert.deepEqual(
      responses.map(({ response }) => response.case),
      ["create", "update", "create", "update", "delete", "update", "update"],
    );
    for (const { status } of responses) assert.equal(status?.code, 0);
    const { item, meta } = await records.get("a");
    const desc = testTypes.getMessage("shop.v1.Product");
    assert.ok(desc !== undefined);
    assert.deepEqual(toJson(desc, fromBinary(desc, item.value)), {
      sku: "s",
      title: "one",
      stock: 5,
      tags: ["x"],
    });
    assert.deepEqual(meta.labels, { k: "v" });
    assert.equal((await records.stats()).recordCount, 2n);
  });

  it("does all or nothing, and names the operation that failed", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    await records.create(create(CreateRequestSchema, { id: "taken", item: product({}) }));
    const good = (id: string) =>
      ({ operation: { case: "create", value: { id, item: product({}) } } }) as const;
    const cases: [Ops[number], string, string][] = [
      [good("taken"), "RECORD_EXISTS", "operations[1].create.id"],
      [
        { operation: { case: "update", value: { id: "none", item: product({}) } } },
        "RECORD_NOT_FOUND",
        "operations[1].update.id",
      ],
      [
        {
          operation: {
            case: "update",
            value: { id: "none", item: product({}), updateMask: ["sku"] },
          },
        },
        "RECORD_NOT_FOUND",
        "operations[1].update.id",
      ],
      [
        { operation: { case: "delete", value: { id: "taken", ifMatch: "9" } } },
        "VERSION_MISMATCH",
        "operations[1].delete.if_match",
      ],
      [
        { operation: { case: "create", value: { id: "x" } } },
        "ARGUMENT_MISSING",
        "operations[1].create.item",
      ],
      [
        {
          operation: {
            case: "update",
            value: { id: "taken", item: product({}), updateMask: ["nope"] },
          },
        },
        "FIELD_UNKNOWN",
        "operations[1].update.update_mask",
      ],
      [{ operation: { case: undefined } }, "BATCH_INVALID", "operations[1]"],
    ];
    for (const [operation, reason, field] of cases) {
      for (const validateOnly of [true, false]) {
        await assert.rejects(
          batch(records, { operations: [good("first"), operation, good("last")], validateOnly }),
          (error: { reason: string; violations: { field: string }[] }) => {
            assert.deepEqual([error.reason, error.violations[0]?.field], [reason, field]);
            return true;
          },
        );
      }
    }
    assert.equal((await records.stats()).recordCount, 1n);
    assert.equal((await records.stats()).revision, 1n);
  });

  it("of 99 own operations and one for another collection or namespace does nothing", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    await fixture.collection("others");
    const own = Array.from({ length: 99 }, (_, index) => ({
      operation: { case: "create", value: { id: `r${index}`, item: product({}) } } as const,
    }));
    const strangers: MessageInitShape<typeof CreateRequestSchema>[] = [
      { collectionName: "others" },
      { namespace: "other" },
      { namespace: "default", collectionName: "Products" },
      { requestId: "mine" },
      { validateOnly: true },
    ];
    for (const stranger of strangers) {
      const value = { id: "z", item: product({}), ...stranger };
      await assert.rejects(
        batch(records, { operations: [...own, { operation: { case: "create", value } }] }),
        { reason: "BATCH_INVALID", message: /^operations\[99\]\.create\./ },
      );
    }
    await assert.rejects(batch(records, { operations: [] }), { reason: "BATCH_INVALID" });
    const tooMany = Array.from({ length: 11 }, () => own).flat();
    await assert.rejects(batch(records, { operations: tooMany }), {
      reason: "BATCH_INVALID",
      message: /1089 operations; send 1 to 1000/,
    });
    assert.equal((await records.stats()).recordCount, 0n);
    const named = own.map(({ operation }) => ({
      operation: {
        ...operation,
        value: { ...operation.value, namespace: "default", collectionName: "products" },
      },
    }));
    await batch(records, { operations: named });
    assert.equal((await records.stats()).recordCount, 99n);
  });

  it("with a request id is done once", async () => {
    await using fixture = await CatalogFixture.open();
    const records = await fixture.collection("products");
    const request = {
      requestId: "b-1",
      operations: [
        { operation: { case: "create", value: { item: product({}) } } },
        { operation: { case: "create", value: { item: product({}) } } },
      ] satisfies Ops,
    };
    const first = await batch(records, request);
    assert.deepEqual(await batch(records, request), first);
    assert.equal((await records.stats()).recordCount, 2n);
    await assert.rejects(batch(records, { ...request, operations: request.operations.slice(1) }), {
      reason: "REQUEST_ID_REUSED",
    });
  });

  it("does what its operations do one after the other, or nothing", async () => {
    await using fixture = await CatalogFixture.open();
    let round = 0;
    const id = fc.constantFrom("a", "b", "c");
    const operation = fc.oneof(
      fc.record({ kind: fc.constant("create"), id, key: id }),
      fc.record({ kind: fc.constantFrom("whole", "masked", "upsert", "labels"), id, key: id }),
      fc.record({ kind: fc.constantFrom("delete", "drop"), id, key: id }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 1, maxLength: 8 }), async (plan) => {
        round += 1;
        const together = await fixture.collection(`together${round}`, kinds);
        const apart = await fixture.collection(`apart${round}`, kinds);
        for (const records of [together, apart]) await add(records, "a");
        const operations = plan.map((step) => toOperation(step));
        let failure: { reason?: string } | undefined;
        for (const { operation } of operations) {
          failure = await run(apart, operation);
          if (failure !== undefined) break;
        }
        const answer = await batch(together, { operations }).catch((error) => error);
        assert.equal(answer.reason, failure?.reason);
        const [one, other] = await Promise.all([contentOf(together), contentOf(apart)]);
        if (failure === undefined) assert.deepEqual(one, other);
        else assert.equal((await together.stats()).revision, 1n);
      }),
      { numRuns: 25 },
    );
  });
});

interface Step {
  readonly kind: string;
  readonly id: string;
  readonly key: string;
}

type Operation = NonNullable<Ops[number]["operation"]>;

function toOperation({ kind, id, key }: Step): { operation: Operation } {
  const item = anyOfJson(kinds, { labels: { [key]: kind }, tags: [key] });
  switch (kind) {
    case "create":
      return { operation: { case: "create", value: { id, item } } };
    case "whole":
      return { operation: { case: "update", value: { id, item } } };
    case "masked":
    case "upsert": {
      const updateMask = [`labels.${key}`];
      const allowMissing = kind === "upsert";
      return { operation: { case: "update", value: { id, item, updateMask, allowMissing } } };
    }
    case "labels":
      return { operation: { case: "update", value: { id, labels: { [key]: kind } } } };
    default:
      return { operation: { case: "delete", value: { id, allowMissing: kind === "drop" } } };
  }
}

async function run(
  records: RecordCollection,
  operation: Operation,
): Promise<{ reason?: string } | undefined> {
  try {
    if (operation.case === "create") {
      await records.create(create(CreateRequestSchema, operation.value));
    } else if (operation.case === "update") {
      await records.update(create(UpdateRequestSchema, operation.value));
    } else if (operation.case === "delete") {
      await records.delete(create(DeleteRequestSchema, operation.value));
    }
    return undefined;
  } catch (error) {
    return error as { reason?: string };
  }
}

async function contentOf(records: RecordCollection): Promise<unknown[]> {
  const found = await records.getMany(["a", "b", "c"]);
  return found.map(({ id, item, meta }) => [
    id,
    Buffer.from(item?.value ?? []).toString("hex"),
    meta?.version,
    meta?.labels,
  ]);
}
