import type { DatabaseSync } from "node:sqlite";
import type { Condition, NearMatch } from "../../record-query.ts";
import type { VectorIndexDefinition } from "../../store-layout.ts";
import { candidateSeqs, candidatesOf, estimateMax } from "../query/candidates.ts";
import { liveSql, type QueryContext } from "../query/condition-sql.ts";
import { andRest } from "../query/list-rows.ts";
import { none, type SqlFragment, sql } from "../query/sql.ts";
import { findNear, type NearHits } from "../vectors/near-search.ts";
import { readyVectorIndex } from "./ready-indexes.ts";
import { seqList } from "./text-ranking.ts";

export interface NearInput {
  readonly db: DatabaseSync;
  readonly near: NearMatch;
  readonly where: Condition | undefined;
  readonly context: QueryContext;
}

/** The `k` nearest of the records that fulfil the condition. */
export function nearest(input: NearInput, k: number): NearHits {
  const { db, near } = input;
  const index = readyVectorIndex(db, near.vector);
  return findNear(db, near, index, allowedSql(input), Math.max(k, 1));
}

/** The distances of some records, as far as they have the vector. */
export function distancesOf(
  { db, near }: NearInput,
  seqs: readonly bigint[],
): ReadonlyMap<bigint, number> {
  const index = readyVectorIndex(db, near.vector);
  const { hits } = findNear(db, near, index, seqList(seqs), Math.max(seqs.length, 1));
  return new Map(hits.map(({ seq, distance }) => [seq, distance]));
}

/** Higher is better: 1 for what equals the point. */
export function similarityOf({ metric }: VectorIndexDefinition, distance: number): number {
  return metric === "cosine" ? 1 - distance : 1 / (1 + distance);
}

/** The records that fulfil the condition; undefined: all. */
function allowedSql({ db, where, context }: NearInput): SqlFragment | undefined {
  if (where === undefined && !context.expires) return undefined;
  const candidates = where && candidatesOf(db, where, context);
  // All of them are needed, however many: an index that says which is faster than the records.
  if (candidates !== undefined && candidates.rest === undefined && !context.expires) {
    return candidateSeqs(candidates);
  }
  const asSet = candidates !== undefined && candidates.estimate < estimateMax;
  const { byIndex, byRecord } = andRest(asSet ? candidates.rest : where, context, "r.seq");
  const set = asSet ? sql`AND r.seq IN (${candidateSeqs(candidates)})` : none;
  return sql`
    SELECT r.seq AS seq FROM record r
    WHERE alive() ${set} ${byIndex} ${byRecord} ${liveSql(context)}
  `;
}
