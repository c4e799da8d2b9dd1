import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type {
  RecordContent,
  RecordStore,
  StorageEngine,
  StoreLayout,
  StoreLocation,
  WriteStep,
} from "../record-store.ts";

/** Opens an engine on storage of its own; disposing it removes what it stored. */
export type OpenEngine = () => Promise<StorageEngine>;

export const people: StoreLocation = { storeId: "people", generation: 1n };

export const peopleLayout: StoreLayout = {
  durability: "full",
  textFields: ["name", "notes"],
  indexes: [{ path: "age" }],
};

/** Content whose derived data is made of the fields that the contract's layout names. */
export function contentOf(fields: Readonly<Record<string, unknown>>): RecordContent {
  const document = JSON.stringify(fields);
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  return {
    data: Buffer.from(document),
    document,
    texts: [text(fields["name"]), text(fields["notes"])],
  };
}

export function createStep(
  id: string,
  fields: Readonly<Record<string, unknown>> = {},
  labels: Readonly<Record<string, string>> = {},
): WriteStep {
  return { kind: "create", id, content: contentOf(fields), labels };
}

/** What every engine must do. */
export function describeRecordStore(engineName: string, open: OpenEngine): void {
  const openPeople = async (): Promise<AsyncDisposable & { store: RecordStore }> => {
    const engine = await open();
    await engine.create(people, peopleLayout);
    return {
      store: engine.store(people),
      [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose](),
    };
  };

  describe(`RecordStore on ${engineName}`, () => {
    it("gives back what was created, byte for byte", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      const data = Uint8Array.from({ length: 256 }, (_, byte) => byte);
      const content = { data, document: '{"name":"Ada"}', texts: ["Ada", ""] };
      const labels = { team: "a", "naïve 'key'": 'q"uote' };
      const { outcomes, revision, replayed } = await store.write({
        steps: [{ kind: "create", id: "ada", content, labels }],
      });
      assert.equal(revision, 1n);
      assert.equal(replayed, false);
      const [record, missing] = await store.get(["ada", "nobody"]);
      assert.equal(missing, undefined);
      assert.deepEqual(Buffer.from(record?.data ?? []), Buffer.from(data));
      const [outcome] = outcomes;
      const { createdUs = 0n } = record ?? {};
      const meta = { id: "ada", version: 1n, createdUs, updatedUs: createdUs, labels };
      assert.deepEqual(outcome, { ...meta, change: "created" });
      assert.deepEqual({ ...record, data: undefined }, { ...meta, data: undefined });
    });

    it("updates, deletes, lists and finds", async () => {
      await using opened = await openPeople();
      const { store } = opened;
      await store.write({
        steps: [createStep("a", { name: "Ada Lovelace" }), createStep("b", { name: "Bob" })],
      });
      await store.write({
        steps: [
          { kind: "update", id: "a", content: contentOf({ name: "Ada King" }), labels: undefined },
          { kind: "delete", id: "b" },
        ],
      });
      const page = await store.list({ limit: 10 });
      assert.deepEqual(
        page.records.map(({ id, version }) => ({ id, version })),
        [{ id: "a", version: 3n }],
      );
      assert.equal(page.totalCount, 1n);
      assert.equal(page.next, undefined);
      const found = async (word: string): Promise<string[]> => {
        const { hits } = await store.searchText({ words: [word], limit: 10, offset: 0 });
        return hits.map(({ record }) => record.id);
      };
      assert.deepEqual(await found("king"), ["a"]);
      assert.deepEqual(await found("lovelace"), []);
      assert.deepEqual(await found("bob"), []);
    });
  });
}
