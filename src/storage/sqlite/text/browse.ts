import { integerOf } from "../connection.ts";
import { candidateSeqs, candidatesOf } from "../query/candidates.ts";
import { conditionSql, liveSql } from "../query/condition-sql.ts";
import { countAll, countMatches } from "../query/count.ts";
import { listOrder } from "../query/list-order.ts";
import { andRest, listRows } from "../query/list-rows.ts";
import { planList } from "../query/plan.ts";
import { seqOf } from "../query/record-rows.ts";
import { bind, type SqlFragment, sql } from "../query/sql.ts";
import { prepared } from "../query/statements.ts";
import { facetMatchesMax } from "./facets.ts";
import { type Found, noMatches, type SearchScope, unscored } from "./found.ts";

/** A search without text or vector: a list, by offset. */
export function browse(scope: SearchScope): Found {
  const { db, query, where, context, log } = scope;
  const order = listOrder(query.order ?? [], context);
  const candidates = where && candidatesOf(db, where, context);
  const recordCount = Number(countAll(db, context));
  const end = query.offset + query.limit;
  const plan = planList({ order, candidates, where, recordCount, limit: end });
  const after = undefined;
  const seqs: bigint[] = [];
  let passed = 0;
  for (const row of listRows({ db, plan, order, where, context, after, limit: end })) {
    if (passed === end) break;
    passed++;
    if (passed > query.offset) seqs.push(seqOf(row));
  }
  log.useIndexes("candidates" in plan ? plan.candidates.indexes : []);
  if (plan.drive === "order" && order.index?.kind === "field") log.useIndexes([order.index.name]);
  log.step("listed records, as there was neither text nor vector to search for");
  const hits = seqs.map(unscored);
  if (where === undefined) {
    const matches = { seqs: undefined, count: recordCount, approximate: false };
    return whole(hits, recordCount, false, matches);
  }
  const total = countMatches({ db, where, context, candidates, ms: scope.countMs });
  const count = Math.max(Number(total.count), passed);
  const matches = facetMatches(scope, total.capped ? undefined : count);
  return whole(hits, count, total.capped, matches);
}

function whole(
  hits: Found["hits"],
  count: number,
  countCapped: boolean,
  matches: Found["matches"],
): Found {
  return { hits, count, countCapped, approximate: false, matches, rowsVisited: 0 };
}

/** @param known how many match, if that is known */
function facetMatches(scope: SearchScope, known: number | undefined): Found["matches"] {
  if ((scope.query.facets?.length ?? 0) === 0) return noMatches;
  const count = known ?? countUpTo(scope, facetMatchesMax + 1);
  const seqs = matchingSeqs(scope, facetMatchesMax);
  return { seqs, count, approximate: count > facetMatchesMax };
}

function countUpTo(scope: SearchScope, max: number): number {
  const { sql: text, params } = sql`SELECT count(*) AS count FROM (${matchingSeqs(scope, max)})`;
  return Number(integerOf(prepared(scope.db, text).get(...params), "count"));
}

/** `SELECT seq …` of what fulfils the condition: of more than `limit`, the newest. */
function matchingSeqs({ db, where, context }: SearchScope, limit: number): SqlFragment {
  const candidates = where && candidatesOf(db, where, context);
  const most = bind(BigInt(limit));
  if (where === undefined || candidates === undefined) {
    const condition = where === undefined ? sql`1` : conditionSql(where);
    return sql`SELECT r.seq AS seq FROM record r WHERE alive() AND ${condition} ${liveSql(context)}
      ORDER BY r.seq DESC LIMIT ${most}`;
  }
  const { byIndex, byRecord } = andRest(candidates.rest, context, "r.seq");
  return sql`SELECT r.seq AS seq FROM (${candidateSeqs(candidates)}) c
    CROSS JOIN record r ON r.seq = c.seq
    WHERE alive() ${byIndex} ${byRecord} ${liveSql(context)} ORDER BY r.seq DESC LIMIT ${most}`;
}
