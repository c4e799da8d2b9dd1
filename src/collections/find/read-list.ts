import type { DescMessage, JsonValue } from "@bufbuild/protobuf";
import type { ListRequest } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { ListQuery } from "../../storage/record-query.ts";
import { allOf } from "../filters/conditions.ts";
import { parseOrderBy } from "../filters/order-by.ts";
import { parseStructFilter } from "../filters/struct-filter.ts";
import { parseWhere } from "../filters/where.ts";

export type ListCriteria = Pick<ListRequest, "filter" | "where" | "orderBy">;

/**
 * Reads what a list is to find, and in what order.
 *
 * @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN naming the criterion and the place in it.
 */
export function readListQuery(
  { filter, where, orderBy }: ListCriteria,
  desc: DescMessage,
  limits: Limits,
): Pick<ListQuery, "where" | "order"> {
  return {
    where: allOf([
      parseStructFilter(filter ?? {}, desc, "filter", limits),
      parseWhere(where, desc, limits),
    ]),
    order: parseOrderBy(orderBy, desc, { limits }),
  };
}

/** What has to stay the same from page to page; a Struct comes with its keys in any order. */
export function criteriaParts({ filter, where, orderBy }: ListCriteria): string[] {
  return [JSON.stringify(sorted(filter ?? {})), where, orderBy];
}

function sorted(json: JsonValue): JsonValue {
  if (Array.isArray(json)) return json.map(sorted);
  if (typeof json !== "object" || json === null) return json;
  const entries = Object.entries(json).sort(([one], [other]) => (one < other ? -1 : 1));
  // Pairs, so that a key such as `__proto__` is one like all others.
  return entries.map(([key, value]) => [key, sorted(value)]) satisfies JsonValue;
}
