import type { DatabaseSync } from "node:sqlite";
import type { Condition, SearchQuery } from "../../record-query.ts";
import type { QueryContext } from "../query/condition-sql.ts";
import type { RunLog } from "../query/query-run.ts";
import type { FacetMatches } from "./facets.ts";
import type { MatchExpression } from "./match-expression.ts";

/** What a search has at hand. */
export interface SearchScope {
  readonly db: DatabaseSync;
  readonly query: SearchQuery;
  /** Of the query; undefined if everything fulfils it. */
  readonly where: Condition | undefined;
  readonly context: QueryContext;
  readonly log: RunLog;
  /** How long the matches may be counted where that is work of its own. */
  readonly countMs: number;
}

/** The text that is searched for, and the number of the index to search. */
export interface WantedText {
  readonly number: bigint;
  readonly expression: MatchExpression;
}

export interface FoundHit {
  readonly seq: bigint;
  readonly score: number;
  readonly textScore: number | undefined;
  readonly distance: number | undefined;
}

/** The hits of a page, and what is known of all that matches. */
export interface Found {
  readonly hits: readonly FoundHit[];
  readonly count: number;
  /** True if there are more than `count`. */
  readonly countCapped: boolean;
  /** True if not all that matches was ranked or sorted. */
  readonly approximate: boolean;
  readonly matches: FacetMatches;
  /** Rows that were looked at without a call of `alive()`. */
  readonly rowsVisited: number;
}

export function unscored(seq: bigint): FoundHit {
  return { seq, score: 0, textScore: undefined, distance: undefined };
}

/** For a search that counts no facets. */
export const noMatches: FacetMatches = { seqs: undefined, count: 0, approximate: false };
