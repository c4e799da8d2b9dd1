import type { DatabaseSync } from "node:sqlite";
import type { Condition } from "../../record-query.ts";
import { aliveOf } from "../query/alive.ts";
import {
  type ChangesRequest,
  type ChangesResult,
  type ExpiredRequest,
  type ExpiredResult,
  runChanges,
  runExpired,
} from "../query/changes.ts";
import { readContext } from "../query/condition-sql.ts";
import { countWhere } from "../query/count.ts";
import { type ListRequest, type ListResult, runList } from "../query/list.ts";
import { forgetStatements } from "../query/statements.ts";
import { type PassagesRequest, type PassagesResult, runPassages } from "../text/passages.ts";
import { runSearch, type SearchRequest, type SearchResult } from "../text/search-query.ts";
import type { DeltaQuery, DeltaResult } from "./delta-rows.ts";
import type { ScanQuery, ScanResult } from "./scan-rows.ts";

export interface CountRequest {
  readonly kind: "count";
  readonly where: Condition | undefined;
  readonly nowUs: bigint;
}

export interface CountResult {
  readonly kind: "count";
  readonly count: bigint;
  readonly capped: boolean;
}

/** What can be asked for in one go. */
export type SingleQuery =
  | ListRequest
  | SearchRequest
  | PassagesRequest
  | ChangesRequest
  | ExpiredRequest
  | CountRequest;

type SingleResult =
  | ListResult
  | SearchResult
  | PassagesResult
  | ChangesResult
  | ExpiredResult
  | CountResult;

/** What a reader can be asked for. */
export type ReaderQuery = SingleQuery | MomentQuery;

/** What is asked of a process that keeps one moment for it, until it ends. */
export type MomentQuery = ScanQuery | DeltaQuery;

export type ReaderResult = SingleResult | ScanResult | DeltaResult;

/** The result of one kind of query. */
export type ResultOf<Q extends ReaderQuery> = Extract<ReaderResult, { kind: Q["kind"] }>;

/**
 * Runs a query in one read transaction, so that all of its answer is of one moment.
 *
 * @param db a connection with `alive()`, see {@link aliveOf}.
 */
export function runQuery(db: DatabaseSync, query: SingleQuery): SingleResult {
  aliveOf(db).rowsVisited = 0;
  db.exec("BEGIN");
  try {
    return run(db, query);
  } catch (error) {
    forgetStatements(db);
    throw error;
  } finally {
    if (db.isTransaction) db.exec("ROLLBACK");
  }
}

function run(db: DatabaseSync, query: SingleQuery): SingleResult {
  switch (query.kind) {
    case "list":
      return runList(db, query);
    case "search":
      return runSearch(db, query);
    case "passages":
      return runPassages(db, query);
    case "changes":
      return runChanges(db, query);
    case "expired":
      return runExpired(db, query);
    case "count":
      return { kind: "count", ...countWhere(db, query.where, readContext(db, query.nowUs)) };
  }
}
