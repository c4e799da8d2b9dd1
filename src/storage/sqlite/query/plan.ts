import type { Condition } from "../../record-query.ts";
import type { Candidates } from "./candidates.ts";
import type { ListOrder } from "./list-order.ts";

/** What a list goes through to find its records. */
export type ListPlan =
  /** All records, in order of creation. */
  | { readonly drive: "seq" }
  /** All records, to be sorted. */
  | { readonly drive: "all" }
  /** The records of one value of an index, which are in order of creation. */
  | { readonly drive: "value"; readonly candidates: Candidates }
  /** Records found by indexes, to be sorted. */
  | { readonly drive: "candidates"; readonly candidates: Candidates }
  /** All records, or a range of them, in the order of the first key's index. */
  | { readonly drive: "order"; readonly range: Candidates | undefined };

export interface PlanInput {
  readonly order: ListOrder;
  readonly candidates: Candidates | undefined;
  readonly where: Condition | undefined;
  readonly recordCount: number;
  readonly limit: number;
}

/** Costs of a row, in about µs: one that is looked up and sorted, one that a filter looks at. */
const sortedCost = 5;
const filteredCost = 4;
const streamedCost = 2;
/** The share of records that a condition of unknown selectivity lets pass. */
const unknownShare = 0.3;

/** Chooses the way that looks at the fewest rows, as far as that can be guessed. */
export function planList(input: PlanInput): ListPlan {
  const ways = waysOf(input);
  let best = ways[0];
  for (const way of ways) if (way.cost < best.cost) best = way;
  return best.plan;
}

/** All ways that lead to the same records. */
export function possiblePlans(input: PlanInput): readonly ListPlan[] {
  return waysOf(input).map(({ plan }) => plan);
}

interface Way {
  readonly plan: ListPlan;
  readonly cost: number;
}

function waysOf({ order, candidates, where, recordCount, limit }: PlanInput): [Way, ...Way[]] {
  const all = Math.max(recordCount, 1);
  const found = candidates === undefined ? all : sizeOf(candidates, all);
  const rest = restOf(where, candidates);
  const matches = Math.max(found * unknownShare ** Math.min(rest, 4), 0.1);
  const scan = Math.min(all, (limit * all) / matches);
  const hasOrder = order.keys.length > 0;
  const filtered = where === undefined ? streamedCost : filteredCost;
  const ways: [Way, ...Way[]] = hasOrder
    ? [{ plan: { drive: "all" }, cost: all * sortedCost }]
    : [{ plan: { drive: "seq" }, cost: scan * filtered }];
  if (order.index !== undefined) {
    ways.push({ plan: { drive: "order", range: undefined }, cost: scan * filtered });
  }
  if (candidates === undefined) return ways;
  const few = Math.min(found, (limit * found) / matches);
  if (!hasOrder && candidates.rows?.values?.length === 1) {
    ways.push({ plan: { drive: "value", candidates }, cost: few * streamedCost });
  }
  if (isRangeOf(candidates, order)) {
    ways.push({ plan: { drive: "order", range: candidates }, cost: few * streamedCost });
  }
  ways.push({ plan: { drive: "candidates", candidates }, cost: found * sortedCost });
  return ways;
}

/** True if the candidates are a stretch of the index that has the order. */
function isRangeOf({ rows }: Candidates, { index }: ListOrder): boolean {
  return index?.kind === "field" && rows?.index === index.name && rows.values === undefined;
}

/** How many the candidates are, about: of more than were counted, somewhere between that and all. */
function sizeOf({ estimate, more }: Candidates, all: number): number {
  return more ? Math.sqrt(estimate * all) : estimate;
}

/** How many conditions are left to be looked at in the records that were found. */
function restOf(where: Condition | undefined, candidates: Candidates | undefined): number {
  const rest = candidates === undefined ? where : candidates.rest;
  if (rest === undefined) return 0;
  return rest.kind === "and" ? rest.conditions.length : 1;
}
