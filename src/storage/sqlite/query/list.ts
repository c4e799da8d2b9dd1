import type { DatabaseSync } from "node:sqlite";
import type { Condition, OrderKey, QueryRun } from "../../record-query.ts";
import { decodeCursor, encodeCursor, type ListCursor } from "../list-cursor.ts";
import { type PackedRecords, packRecords } from "../reader/record-codec.ts";
import { aliveOf } from "./alive.ts";
import { type Candidates, candidatesOf } from "./candidates.ts";
import { type QueryContext, readMoment } from "./condition-sql.ts";
import { countExpiredRows, countMatches, type Total } from "./count.ts";
import { type ListOrder, listOrder, positionOf } from "./list-order.ts";
import { keysOf, listRows } from "./list-rows.ts";
import { type ListPlan, type PlanInput, planList } from "./plan.ts";
import { missingIndexes, RunLog } from "./query-run.ts";
import { type PageOfRows, seqOf, takePage } from "./record-rows.ts";

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

/** Planning measures what indexes find up to here, if it need not know more. */
const roughMax = 1000;

/** @throws {CollectorError} PAGE_TOKEN_INVALID */
export function runList(db: DatabaseSync, request: ListRequest): ListResult {
  const log = new RunLog();
  const where = request.where?.kind === "always" ? undefined : request.where;
  const { limit, bytesMax } = request;
  const { context, incarnation, rowCount } = readMoment(db, request.nowUs);
  const order = listOrder(request.order, context);
  const cursor =
    request.after === undefined
      ? undefined
      : decodeCursor(request.after, incarnation, order.keys.length);
  const after = cursor && positionOf(db, order, cursor);
  const recordCount = rowCount - countExpiredRows(db, context);
  const { plan, candidates } = choosePlan(db, {
    order,
    where,
    recordCount: Number(recordCount),
    limit: limit + 1,
    context,
  });
  describePlan(log, plan, order, where);
  const rows = listRows({ db, plan, order, where, context, after, limit: limit + 1 });
  const page = takePage(rows, limit, bytesMax);
  const total = totalOf(db, request, {
    plan,
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

/** Plans with a rough measure, and with a finer one if much depends on it. */
function choosePlan(
  db: DatabaseSync,
  input: Omit<PlanInput, "candidates"> & { readonly context: QueryContext },
): { readonly plan: ListPlan; readonly candidates: Candidates | undefined } {
  const { where, context } = input;
  if (where === undefined)
    return { plan: planList({ ...input, candidates: undefined }), candidates: undefined };
  const rough = candidatesOf(db, where, context, roughMax);
  const plan = planList({ ...input, candidates: rough });
  const isSure =
    rough === undefined ||
    rough.estimate < roughMax ||
    plan.drive === "value" ||
    (plan.drive === "order" && plan.range !== undefined);
  if (isSure) return { plan, candidates: rough };
  const candidates = candidatesOf(db, where, context);
  return { plan: planList({ ...input, candidates }), candidates };
}

function totalOf(
  db: DatabaseSync,
  { countMs }: ListRequest,
  known: {
    readonly plan: ListPlan;
    readonly where: Condition | undefined;
    readonly context: QueryContext;
    readonly candidates: Candidates | undefined;
    readonly recordCount: bigint;
    readonly cursor: ListCursor | undefined;
    readonly page: PageOfRows;
    readonly log: RunLog;
  },
): Total {
  const { plan, where, context, candidates, recordCount, cursor, page, log } = known;
  if (cursor !== undefined) return { count: cursor.totalCount, capped: cursor.totalCapped };
  if (where === undefined) return { count: recordCount, capped: false };
  if (!page.more) return { count: BigInt(page.records.length), capped: false };
  const counted =
    plan.drive === "seq" && candidates === undefined && page.last !== undefined
      ? { seq: seqOf(page.last), count: page.records.length }
      : undefined;
  const total = countMatches({ db, where, context, candidates, counted, ms: countMs });
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
