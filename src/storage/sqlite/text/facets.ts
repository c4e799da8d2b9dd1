import type { DatabaseSync } from "node:sqlite";
import { CollectorError } from "../../../errors.ts";
import type { FacetCounts, FacetQuery } from "../../record-query.ts";
import { integerOf, malformedRow, textOf } from "../connection.ts";
import { compileIndexKeys, type IndexKey } from "../index-keys.ts";
import { liveSeqSql, type QueryContext } from "../query/condition-sql.ts";
import { rowsOf } from "../query/record-rows.ts";
import { bind, raw, type SqlFragment, sql } from "../query/sql.ts";
import { prepared, preparedList } from "../query/statements.ts";

/** Matches whose values are counted; of more, the newest. */
export const facetMatchesMax = 100_000;

/** Reading a record's values takes as long as going over about this many rows of an index. */
const readCost = 30;

/** What to count the values of. */
export interface FacetMatches {
  /** `SELECT seq …`, each once, {@link facetMatchesMax} at most; undefined: all records. */
  readonly seqs: SqlFragment | undefined;
  /** How many these are, about. */
  readonly count: number;
  /** True if these are not all that match. */
  readonly approximate: boolean;
}

type FacetValue = FacetCounts["values"][number];

/**
 * Counts the values of indexed fields. A record counts once for each value that it has.
 *
 * @throws {CollectorError} QUERY_INVALID for an index that is not ready
 */
export function countFacets(
  db: DatabaseSync,
  facets: readonly FacetQuery[],
  matches: FacetMatches,
  context: QueryContext,
): FacetCounts[] {
  const numbers = facets.map((facet) => {
    const number = context.indexes.get(facet.index);
    if (number !== undefined) return number;
    throw new CollectorError("QUERY_INVALID", `the index of "${facet.index}" is not ready`);
  });
  if (facets.length === 0) return [];
  const { seqs, count, approximate } = matches;
  const recordCount = integerOf(
    prepared(db, "SELECT record_count FROM meta").get(),
    "record_count",
  );
  // Reading a record gives the values of all facets at once; an index has to be gone over for each.
  const readsRecords =
    seqs !== undefined && BigInt(count * readCost) < recordCount * BigInt(facets.length);
  if (readsRecords) {
    return countInRecords(db, facets, seqs).map((values) => ({ values, approximate }));
  }
  return facets.map(({ limit }, at) => ({
    values: countInIndex(db, numbers[at] ?? 0n, limit, seqs, context),
    approximate,
  }));
}

function countInIndex(
  db: DatabaseSync,
  number: bigint,
  limit: number,
  seqs: SqlFragment | undefined,
  context: QueryContext,
): FacetValue[] {
  const chosen = seqs === undefined ? liveSeqSql(context, "i.seq") : sql`AND i.seq IN (${seqs})`;
  // Those without a value have an empty blob, which comes after all values.
  const { sql: text, params } = sql`
    SELECT i.value, count(*) AS number FROM ${raw(`index_${number}`)} i
    WHERE i.value < x'' AND ((i.seq * 40503 >> 8) & 31 OR alive()) ${chosen}
    GROUP BY i.value ORDER BY number DESC, i.value LIMIT ${bind(BigInt(limit))}`;
  return Array.from(rowsOf(preparedList(db, text).iterate(...params)), ([value, counted]) => {
    if (typeof counted !== "bigint" || value === null || value instanceof Uint8Array) {
      throw malformedRow();
    }
    if (value === undefined) throw malformedRow();
    return { value, count: Number(counted) };
  });
}

/** Reads the values as the writer does that fills the index. */
function countInRecords(
  db: DatabaseSync,
  facets: readonly FacetQuery[],
  seqs: SqlFragment,
): FacetValue[][] {
  const valuesOf = compileIndexKeys(facets.map(({ index }) => index));
  const counts = facets.map(() => new Map<IndexKey, number>());
  const { sql: text, params } = sql`
    SELECT json(r.document) AS document FROM (${seqs}) c CROSS JOIN record r ON r.seq = c.seq
    WHERE alive()`;
  for (const row of prepared(db, text).iterate(...params)) {
    for (const [at, values] of valuesOf(textOf(row, "document")).entries()) {
      const count = counts[at];
      for (const value of new Set(values.map(sameKey))) {
        count?.set(value, (count.get(value) ?? 0) + 1);
      }
    }
  }
  return counts.map((count, at) =>
    Array.from(count, ([value, number]) => ({ value, count: number }))
      .sort((a, b) => b.count - a.count || compareKeys(a.value, b.value))
      .slice(0, facets[at]?.limit),
  );
}

/** A number that is an integer equals that integer in an index. */
function sameKey(key: IndexKey): IndexKey {
  return typeof key === "number" && Number.isInteger(key) && Math.abs(key) < 2 ** 63
    ? BigInt(key)
    : key;
}

/** Numbers, then text by its bytes: as an index has them. */
function compareKeys(a: IndexKey, b: IndexKey): number {
  if (typeof a === "string") {
    return typeof b === "string" ? Buffer.compare(Buffer.from(a), Buffer.from(b)) : 1;
  }
  if (typeof b === "string") return -1;
  return a < b ? -1 : 1;
}
