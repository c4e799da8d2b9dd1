import assert from "node:assert/strict";
import {
  createRegistry,
  type DescMessage,
  fromBinary,
  fromJson,
  type JsonValue,
  toBinary,
} from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { defaultLimits } from "../../lib/limits.ts";
import type { ListQuery } from "../../storage/record-query.ts";
import type { RecordStore } from "../../storage/record-store.ts";
import { openSqliteHarness, type SqliteHarness } from "../../storage/testing/sqlite-harness.ts";
import { DerivePlan } from "../derive/derive-plan.ts";
import { NaiveRecord } from "./naive-find.ts";

export interface FindFixtureOptions {
  readonly desc: DescMessage;
  /** The records, in order of creation; their ids are `r0`, `r1`, … */
  readonly records: readonly JsonValue[];
  readonly indexes?: readonly string[];
  readonly labels?: readonly Readonly<Record<string, string>>[];
}

/** Records in a store of their own, and the same for the model. */
export class FindFixture implements AsyncDisposable {
  readonly store: RecordStore;
  readonly naive: readonly NaiveRecord[];
  readonly #harness: SqliteHarness;

  private constructor(harness: SqliteHarness, store: RecordStore, naive: readonly NaiveRecord[]) {
    this.#harness = harness;
    this.store = store;
    this.naive = naive;
  }

  static async open(options: FindFixtureOptions): Promise<FindFixture> {
    const { desc, records, indexes = [], labels = [] } = options;
    const harness = await openSqliteHarness();
    const location = { storeId: "found", generation: 1n };
    await harness.engine.create(location, {
      durability: "relaxed",
      text: undefined,
      vectors: [],
      indexes: indexes.map((path) => ({ path })),
    });
    const store = harness.engine.store(location);
    const shape = await store.shape();
    const plan = new DerivePlan({ desc, types: createRegistry(), shape, limits: defaultLimits });
    const naive: NaiveRecord[] = [];
    for (const [index, json] of records.entries()) {
      const bytes = toBinary(desc, fromJson(desc, json));
      const id = `r${index}`;
      const content = plan.derive(bytes, { writtenUs: 0n });
      // Alone, so that each is created at its own revision.
      await store.write({ steps: [{ kind: "create", id, content, labels: labels[index] ?? {} }] });
      naive.push(new NaiveRecord(id, reflect(desc, fromBinary(desc, bytes))));
    }
    return new FindFixture(harness, store, naive);
  }

  /** The ids of all pages, of which each has to say how many there are. */
  async ids(query: Omit<ListQuery, "limit" | "after">, pageSize = 1000): Promise<string[]> {
    const ids: string[] = [];
    const totals = new Set<bigint>();
    let after: string | undefined;
    do {
      const page = await this.store.list({ ...query, limit: pageSize, after });
      totals.add(page.totalCount);
      ids.push(...page.records.map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
    assert.deepEqual([...totals], [BigInt(ids.length)]);
    return ids;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#harness[Symbol.asyncDispose]();
  }
}
