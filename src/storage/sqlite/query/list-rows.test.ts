import assert from "node:assert/strict";
import { join } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import type { Condition } from "../../record-query.ts";
import { contentOf } from "../../testing/engine-harness.ts";
import { type NaiveRecord, naiveJson, naiveList } from "../../testing/naive-query.ts";
import {
  conditions,
  documents,
  indexedPaths,
  labels,
  orders,
} from "../../testing/query-arbitraries.ts";
import { openSqliteHarness } from "../../testing/sqlite-harness.ts";
import { openForReading } from "../connection.ts";
import { dataFileName } from "../store-paths.ts";
import { installAlive } from "./alive.ts";
import { candidatesOf } from "./candidates.ts";
import { conditionSql, indexedConditionSql, readMoment } from "./condition-sql.ts";
import { listOrder, positionOf } from "./list-order.ts";
import { keysOf, listRows } from "./list-rows.ts";
import { type PlanInput, possiblePlans } from "./plan.ts";
import { seqOf, takePage } from "./record-rows.ts";
import { sql } from "./sql.ts";

describe("listRows", () => {
  it("finds the same in the same order by whichever plan, and by indexes alone", async () => {
    await using harness = await openSqliteHarness();
    const kinds = new Set<string>();
    let generation = 0n;
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(documents, labels), { minLength: 1, maxLength: 30 }),
        fc.array(fc.tuple(conditions, orders, fc.integer({ min: 1, max: 9 })), {
          minLength: 1,
          maxLength: 10,
        }),
        async (contents, queries) => {
          const at = { storeId: "planned", generation: ++generation };
          const indexes = indexedPaths.map((path) => ({ path }));
          const layout = { durability: "relaxed", text: undefined, vectors: [], indexes } as const;
          await harness.engine.create(at, layout);
          const records = contents.map(
            ([document, ofLabels], position): NaiveRecord => ({
              id: `${(position * 7) % 31}`,
              seq: position + 1,
              labels: ofLabels,
              document,
            }),
          );
          await harness.engine.store(at).write({
            steps: records.map(({ id, document, labels: ofLabels }) => ({
              kind: "create",
              id,
              content: contentOf({}, { document: naiveJson(document), texts: [] }),
              labels: ofLabels,
            })),
          });
          const folder = join(harness.dataFolder, "stores", "planned", `${generation}`);
          const db = openForReading(join(folder, dataFileName));
          try {
            installAlive(db, () => undefined);
            for (const [where, keys, limit] of queries) {
              const expected = naiveList(records, where, keys).map(({ seq }) => BigInt(seq));
              for (const [drive, seqs] of listByEachPlan(db, where, keys, limit)) {
                kinds.add(drive);
                assert.deepEqual(seqs, expected, drive);
              }
              const { context } = readMoment(db, 0n);
              const indexed = indexedConditionSql(where, context, "r.seq");
              if (indexed === undefined) continue;
              const both = sql`SELECT count(*) AS count FROM record r
                WHERE (${indexed}) IS NOT (${conditionSql(where)})`;
              assert.equal(db.prepare(both.sql).get(...both.params)?.["count"], 0n);
            }
          } finally {
            db.close();
          }
          await harness.engine.drop(at);
        },
      ),
      { numRuns: 60 },
    );
    assert.deepEqual([...kinds].toSorted(), ["all", "candidates", "order", "seq", "value"]);
  });
});

/** All records, page by page, as each plan finds them. */
function listByEachPlan(
  db: ReturnType<typeof openForReading>,
  where: Condition,
  keys: PlanInput["order"]["keys"],
  limit: number,
): [string, bigint[]][] {
  const { context } = readMoment(db, 0n);
  const order = listOrder(keys, context);
  const candidates = candidatesOf(db, where, context);
  const plans = possiblePlans({ order, candidates, where, recordCount: 30, limit: limit + 1 });
  return plans.map((plan) => {
    const seqs: bigint[] = [];
    let after: ReturnType<typeof positionOf> | undefined;
    for (;;) {
      const rows = listRows({ db, plan, order, where, context, after, limit: limit + 1 });
      const { records, last, more } = takePage(
        (function* () {
          for (const row of rows) {
            seqs.push(seqOf(row));
            yield row;
          }
        })(),
        limit,
        1e6,
      );
      if (!more || last === undefined) return [plan.drive, seqs];
      // The page was left at the row after its last.
      seqs.pop();
      const version = records.at(-1)?.version ?? 0n;
      const end = { keys: keysOf(last), seq: seqOf(last), version };
      after = positionOf(db, order, { ...end, totalCount: 0n, totalCapped: false });
    }
  });
}
