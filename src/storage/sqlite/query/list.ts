import type { DatabaseSync } from "node:sqlite";
import type { Condition, OrderKey, QueryRun } from "../../record-query.ts";
import { textOf } from "../connection.ts";
import { decodeCursor, encodeCursor, type ListCursor } from "../list-cursor.ts";
import { type PackedRecords, packRecords } from "../reader/record-codec.ts";
import { aliveOf } from "./alive.ts";
import { type Candidates, candidatesOf } from "./candidates.ts";
import { type QueryContext, readContext } from "./condition-sql.ts";
import { countAll, countMatches, type Total } from "./count.ts";
import { type ListOrder, listOrder, positionOf } from "./list-order.ts";
import { keysOf, listRows } from "./list-rows.ts";
import { type ListPlan, planList } from "./plan.ts";
import { missingIndexes, RunLog } from "./query-run.ts";
import { type PageOfRows, seqOf, takePage } from "./record-rows.ts";
import { prepared } from "./statements.ts";

export interface ListRequest {
  readonly kind: "list";
  readonly where: Condition | undefined;
  readonly order: readonly OrderKey[];
  readonly limit: number;
  readonly after: string | undefined;
  readonly nowUs: bigint;
  readonly bytesMax: number;
  /** How long the matches of a first page may be counted. */
  readonly countMs: number;
}

export interface ListResult {
  readonly kind: "list";
  readonly records: PackedRecords;
  readonly next: string | undefined;
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
  readonly run: QueryRun;
}

/** @throws {CollectorError} PAGE_TOKEN_INVALID */
export function runList(db: DatabaseSync, request: ListRequest): ListResult {
  const log = new RunLog();
  const where = request.where?.kind === "always" ? undefined : request.where;
  const { limit, bytesMax } = request;
  const context = readContext(db, request.nowUs);
  const incarnation = textOf(prepared(db, "SELECT incarnation FROM meta").get(), "incarnation");
  const order = listOrder(request.order, context);
  const cursor =
    request.after === undefined
      ? undefined
      : decodeCursor(request.after, incarnation, order.keys.length);
  const after = cursor && positionOf(db, order, cursor);
  const candidates = where && candidatesOf(db, where, context);
  const recordCount = countAll(db, context);
  const plan = planList({
    order,
    candidates,
    where,
    recordCount: Number(recordCount),
    limit: limit + 1,
  });
  describePlan(log, plan, order, where);
  const rows = listRows({ db, plan, order, where, context, after, limit: limit + 1 });
  const page = takePage(rows, limit, bytesMax);
  const total = totalOf(db, request, {
    where,
    context,
    candidates,
    recordCount,
    cursor,
    page,
    log,
  });
  return {
    kind: "list",
    records: packRecords(page.records),
    next: page.more ? nextCursor(page, total, incarnation) : undefined,
    totalCount: total.count,
    totalCapped: total.capped,
    run: log.finish({
      rowsVisited: aliveOf(db).rowsVisited,
      answered: page.records.length,
      wanted: missingIndexes(where, order.keys[0]?.source, context),
    }),
  };
}

function totalOf(
  db: DatabaseSync,
  { countMs }: ListRequest,
  known: {
    readonly where: Condition | undefined;
    readonly context: QueryContext;
    readonly candidates: Candidates | undefined;
    readonly recordCount: bigint;
    readonly cursor: ListCursor | undefined;
    readonly page: PageOfRows;
    readonly log: RunLog;
  },
): Total {
  const { where, context, candidates, recordCount, cursor, page, log } = known;
  if (cursor !== undefined) return { count: cursor.totalCount, capped: cursor.totalCapped };
  if (where === undefined) return { count: recordCount, capped: false };
  if (!page.more) return { count: BigInt(page.records.length), capped: false };
  const total = countMatches({ db, where, context, candidates, ms: countMs });
  // What the page has was seen, even if there was no time to count it again.
  const seen = BigInt(page.records.length + 1);
  log.step(`counted the matches: ${total.capped ? "more than " : ""}${total.count}`);
  return total.count < seen ? { count: seen, capped: total.capped } : total;
}

function nextCursor({ records, last }: PageOfRows, total: Total, incarnation: string): string {
  const record = records.at(-1);
  if (last === undefined || record === undefined) throw new Error("a page has at least one record");
  const cursor: ListCursor = {
    keys: keysOf(last),
    seq: seqOf(last),
    version: record.version,
    totalCount: total.count,
    totalCapped: total.capped,
  };
  return encodeCursor(cursor, incarnation);
}

function describePlan(
  log: RunLog,
  plan: ListPlan,
  { keys, index }: ListOrder,
  where: Condition | undefined,
): void {
  const found = "candidates" in plan ? plan.candidates : undefined;
  if (found !== undefined) {
    log.useIndexes(found.indexes);
    const names = found.indexes.length === 0 ? "id or version" : found.indexes.join(", ");
    log.step(`looked up records by the index of ${names}`);
  }
  if (plan.drive === "order") {
    const name = index?.kind === "field" ? index.name : "id or version";
    if (index?.kind === "field") log.useIndexes([index.name]);
    const what = plan.range === undefined ? "all records" : "a range of records";
    log.step(`went through ${what} in the order of the index of ${name}`);
  }
  if (plan.drive === "seq") log.step("went through all records in order of creation");
  if (plan.drive === "all") log.step("went through all records");
  const range = plan.drive === "order" ? plan.range : undefined;
  const rest = found === undefined && range === undefined ? where : (found ?? range)?.rest;
  if (rest !== undefined) log.step("checked each against the rest of the filter");
  const sorted = plan.drive === "all" || (plan.drive === "candidates" && keys.length > 0);
  if (sorted) log.step("sorted what matched");
  else if (plan.drive === "order" && keys.length > 1)
    log.step("sorted those with equal first keys");
}
