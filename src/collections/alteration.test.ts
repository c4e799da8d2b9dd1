import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import * as fc from "fast-check";
import { TextSearch_Tokenizer, VectorField_Metric } from "../gen/collector/collection_pb.ts";
import {
  CreateRequestSchema,
  DeleteRequestSchema,
  type ModifyRequestSchema,
  SearchRequestSchema,
  UpdateRequestSchema,
} from "../gen/collector/collection_server_pb.ts";
import { define, modify } from "./testing/catalog-calls.ts";
import { anyOfJson, CatalogFixture, product } from "./testing/fixture.ts";

const reference = { namespace: "default", name: "products" };
const english = { tokenizer: TextSearch_Tokenizer.ENGLISH };
const alterText = { textSearch: english, updateMask: ["text_search"] };

async function put(fixture: CatalogFixture, id: string, title: string): Promise<void> {
  await fixture.catalog
    .open("default", "products")
    .create(create(CreateRequestSchema, { id, item: product({ title }) }));
}

async function find(fixture: CatalogFixture, fullText: string): Promise<string[]> {
  const records = fixture.catalog.open("default", "products");
  const request = create(SearchRequestSchema, { fullText, limit: 1000 });
  const { results } = await records.search(request);
  return results.map(({ meta }) => meta?.id ?? "").sort();
}

async function begin(
  fixture: CatalogFixture,
  request: MessageInitShape<typeof ModifyRequestSchema>,
): Promise<string> {
  const { operation } = await modify(fixture, { ...request, returnImmediately: true });
  assert.ok(operation !== undefined);
  return operation.name;
}

describe("altering a collection", () => {
  it("searches by another tokenizer once every record is in the new index", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    for (let index = 0; index < 250; index += 1) await put(fixture, `r${index}`, "running shoes");
    assert.deepEqual(await find(fixture, "run"), []);
    const { operation, collection } = await modify(fixture, alterText);
    assert.equal(operation?.kind, "alter");
    assert.equal(operation?.result.case, "response");
    assert.equal(operation?.progressDone, 250n);
    assert.equal(collection.textSearch?.tokenizer, TextSearch_Tokenizer.ENGLISH);
    assert.equal((await find(fixture, "run")).length, 250);
    await put(fixture, "later", "she runs");
    assert.ok((await find(fixture, "run")).includes("later"));
    const again = await modify(fixture, alterText);
    assert.equal(again.operation, undefined);
  });

  it("loses no write that comes while it builds, and shows none of it before the end", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    for (let index = 0; index < 600; index += 1) await put(fixture, `r${index}`, "running");
    const records = fixture.catalog.open("default", "products");
    const name = await begin(fixture, alterText);
    const seen: number[] = [];
    let written = 0;
    for (let index = 0; index < 200; index += 1) {
      await put(fixture, `n${index}`, "running late");
      const item = product({ title: "stopped" });
      await records.update(create(UpdateRequestSchema, { id: `r${index}`, item }));
      await records.delete(create(DeleteRequestSchema, { id: `r${index + 300}` }));
      written += 1;
      const found = index % 20 === 0 ? (await find(fixture, "stop")).length : 0;
      if (fixture.operations.get(name).done) break;
      // The new index serves a moment before the operation says that it has ended.
      const { texts } = await fixture.catalog.store("default", "products").shape();
      if (texts.some(({ state }) => state === "building")) seen.push(found);
    }
    await fixture.operations.wait(name, {});
    assert.deepEqual(new Set([0, ...seen]), new Set([0]));
    assert.equal((await find(fixture, "stop")).length, written);
    const expected = [
      ...Array.from({ length: written }, (_, index) => `n${index}`),
      ...Array.from({ length: 600 }, (_, index) => index)
        .filter((index) => index >= written && !(index >= 300 && index < 300 + written))
        .map((index) => `r${index}`),
    ];
    assert.deepEqual(await find(fixture, "run"), expected.sort());
  });

  it("changes weights at once, and how text is searched by field only with an operation", async () => {
    await using fixture = await CatalogFixture.open();
    const fields = [{ path: "title" }, { path: "tags" }];
    await define(fixture, { name: "products", textSearch: { fields } });
    await put(fixture, "a", "espresso");
    const weighted = [{ path: "title", weight: 5 }, { path: "tags" }];
    const weights = await modify(fixture, {
      textSearch: { fields: weighted },
      updateMask: ["text_search"],
    });
    assert.equal(weights.operation, undefined);
    const entry = fixture.catalog.store("default", "products");
    const [text] = (await entry.shape()).texts;
    assert.deepEqual(text?.definition.fields, [
      { name: "title", weight: 5 },
      { name: "tags", weight: 1 },
    ]);
    const narrowed = await modify(fixture, {
      textSearch: { fields: [{ path: "tags" }] },
      updateMask: ["text_search"],
    });
    assert.equal(narrowed.operation?.done, true);
    assert.deepEqual(await find(fixture, "espresso"), []);
    const disabled = { textSearch: { disabled: true }, updateMask: ["text_search"] };
    assert.equal((await modify(fixture, disabled)).operation?.result.case, "response");
    assert.deepEqual((await entry.shape()).texts, []);
    const { fields: described } = await fixture.catalog.describe("default", "products");
    assert.ok(described.every(({ fullText }) => !fullText));
    await modify(fixture, { updateMask: ["text_search"] });
    assert.deepEqual(await find(fixture, "espresso"), ["a"]);
  });

  it("goes on after a restart", async () => {
    await using fixture = await CatalogFixture.open();
    await define(fixture, { name: "products" });
    for (let index = 0; index < 500; index += 1) await put(fixture, `r${index}`, "running");
    const name = await begin(fixture, alterText);
    await fixture.restart();
    await put(fixture, "after", "running");
    const ended = await fixture.operations.wait(name, {});
    assert.equal(ended.result.case, "response");
    assert.equal((await find(fixture, "run")).length, 501);
    const { textSearch } = fixture.catalog.get(reference);
    assert.equal(textSearch?.tokenizer, TextSearch_Tokenizer.ENGLISH);
  });

  it("leaves the old definition in force when it is cancelled, also by a stop soon after", async () => {
    for (const restarts of [false, true]) {
      await using fixture = await CatalogFixture.open();
      await define(fixture, { name: "products" });
      for (let index = 0; index < 400; index += 1) await put(fixture, `r${index}`, "running");
      const name = await begin(fixture, alterText);
      await assert.rejects(modify(fixture, { ...alterText, textSearch: { disabled: true } }), {
        reason: "OPERATION_RUNNING",
      });
      assert.equal(await begin(fixture, alterText), name, "the same again joins it");
      await fixture.operations.cancel(name);
      if (restarts) await fixture.restart();
      const ended = await fixture.operations.wait(name, {});
      assert.equal(ended.result.case, "error");
      await put(fixture, "after", "running");
      assert.deepEqual(await find(fixture, "run"), []);
      assert.equal((await find(fixture, "running")).length, 401);
      assert.equal(fixture.catalog.get(reference).textSearch, undefined);
      const { texts } = await fixture.catalog.store("default", "products").shape();
      assert.deepEqual(
        texts.map(({ state }) => state),
        ["ready"],
      );
    }
  });

  it("adds vectors of the message and of the side, and drops them", async () => {
    await using fixture = await CatalogFixture.open();
    const messageType = { messageName: "kinds.v1.Kinds" };
    await define(fixture, { name: "products", messageType });
    const records = fixture.catalog.open("default", "products");
    const item = anyOfJson("kinds.v1.Kinds", { doubles: [1, 0] });
    await records.create(create(CreateRequestSchema, { id: "a", item }));
    const odd = anyOfJson("kinds.v1.Kinds", { doubles: [1, 0, 0] });
    await records.create(create(CreateRequestSchema, { id: "odd", item: odd }));
    const inside = { name: "inside", path: "doubles", dimensions: 2 };
    const beside = { name: "beside", dimensions: 3, metric: VectorField_Metric.L2 };
    const request = { vectorFields: [inside, beside], updateMask: ["vector_fields"] };
    assert.equal((await modify(fixture, request)).operation?.result.case, "response");
    await records.update(
      create(UpdateRequestSchema, { id: "a", vectors: { beside: { values: [1, 2, 3] } } }),
    );
    const near = async (vectorField: string, vector: number[]): Promise<string[]> => {
      const found = await records.search(create(SearchRequestSchema, { vector, vectorField }));
      return found.results.map(({ meta }) => meta?.id ?? "");
    };
    assert.deepEqual(await near("inside", [1, 1]), ["a"]);
    assert.deepEqual(await near("beside", [1, 1, 1]), ["a"]);
    const refused = [
      [{ ...inside, path: "" }, "vector_fields[0].path"],
      [{ ...beside, dimensions: 4 }, "vector_fields[0].dimensions"],
      [{ ...beside, metric: VectorField_Metric.COSINE }, "vector_fields[0].metric"],
    ] as const;
    for (const [field, at] of refused) {
      await assert.rejects(
        modify(fixture, { vectorFields: [field], updateMask: ["vector_fields"] }),
        { reason: "ARGUMENT_INVALID", message: new RegExp(`^${RegExp.escape(at)}:`) },
      );
    }
    const larger = { ...inside, dimensions: 3 };
    await modify(fixture, { vectorFields: [larger, beside], updateMask: ["vector_fields"] });
    assert.deepEqual(await near("inside", [1, 1, 1]), ["odd"]);
    assert.deepEqual(await near("beside", [1, 1, 1]), ["a"], "the side's vectors stay");
    await modify(fixture, { vectorFields: [], updateMask: ["vector_fields"] });
    const { vectors } = await fixture.catalog.store("default", "products").shape();
    assert.deepEqual(vectors, []);
  });

  it("ends in the old or the new state, whatever comes between", async () => {
    const step = fc.constantFrom("write", "alter", "cancel", "restart", "wait");
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 8 }), async (steps) => {
        await using fixture = await CatalogFixture.open();
        await define(fixture, { name: "products" });
        for (let index = 0; index < 120; index += 1) await put(fixture, `r${index}`, "running");
        let written = 120;
        let name: string | undefined;
        let isEnglish = false;
        for (const kind of steps) {
          if (kind === "write") {
            await put(fixture, `w${written}`, "running");
            written += 1;
          } else if (kind === "restart") await fixture.restart();
          else if (kind === "wait" && name !== undefined) await fixture.operations.wait(name, {});
          else if (kind === "cancel" && name !== undefined) await fixture.operations.cancel(name);
          else if (kind === "alter") {
            isEnglish = !isEnglish;
            const textSearch = isEnglish ? english : {};
            try {
              const request = { ...alterText, textSearch, returnImmediately: true };
              name = (await modify(fixture, request)).operation?.name ?? name;
            } catch (error) {
              assert.equal((error as { reason?: string }).reason, "OPERATION_RUNNING");
            }
          }
        }
        if (name !== undefined) await fixture.operations.wait(name, {});
        const { textSearch } = fixture.catalog.get(reference);
        const stems = textSearch?.tokenizer === TextSearch_Tokenizer.ENGLISH;
        assert.equal((await find(fixture, "running")).length, written);
        assert.equal((await find(fixture, "run")).length, stems ? written : 0);
      }),
      { numRuns: 12 },
    );
  });
});
