import { invalidField } from "../errors.ts";
import type { ListRequest, SearchRequest } from "../gen/collector/collection_server_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { TextQuery } from "../storage/record-store.ts";

type SearchLimits = Pick<
  Limits,
  "pageSizeDefault" | "pageSizeMax" | "fullTextBytesMax" | "fullTextTermsMax"
>;

/** Most results that a search may leave out: what it leaves out it has to find first. */
const offsetMax = 10_000;

/** @throws {CollectorError} QUERY_INVALID for criteria that lists do not serve */
export function refuseUnserved(request: Pick<ListRequest, "filter" | "orderBy">): void {
  if (Object.keys(request.filter ?? {}).length > 0) throw unserved("filter");
  if (request.orderBy !== "") throw unserved("order_by");
}

/**
 * Reads a search for words.
 *
 * @throws {CollectorError} QUERY_INVALID for criteria that are not served, for no words or too many
 */
export function readSearch(
  request: Pick<
    SearchRequest,
    "fullText" | "filters" | "labelFilters" | "vector" | "limit" | "offset" | "orderBy"
  >,
  limits: SearchLimits,
): TextQuery {
  if (Object.keys(request.filters).length > 0) throw unserved("filters");
  if (Object.keys(request.labelFilters).length > 0) throw unserved("label_filters");
  if (request.vector.length > 0) throw unserved("vector");
  if (request.orderBy !== "") throw unserved("order_by");
  const { limit, offset } = request;
  if (limit < 0) {
    throw invalidField("QUERY_INVALID", "limit", `is ${limit}; send 1 to ${limits.pageSizeMax}`);
  }
  if (offset < 0 || offset > offsetMax) {
    throw invalidField("QUERY_INVALID", "offset", `is ${offset}; send 0 to ${offsetMax}`);
  }
  return {
    words: readWords(request.fullText, limits),
    limit: Math.min(limit === 0 ? limits.pageSizeDefault : limit, limits.pageSizeMax),
    offset,
  };
}

function readWords(fullText: string, limits: SearchLimits): string[] {
  const size = Buffer.byteLength(fullText);
  if (size > limits.fullTextBytesMax) {
    throw invalidField(
      "QUERY_INVALID",
      "full_text",
      `has ${size} bytes, the limit is ${limits.fullTextBytesMax}`,
    );
  }
  const words = fullText.split(/[\s\0]+/u).filter((word) => word !== "");
  if (words.length === 0) {
    throw invalidField("QUERY_INVALID", "full_text", "holds no word to search for");
  }
  if (words.length > limits.fullTextTermsMax) {
    throw invalidField(
      "QUERY_INVALID",
      "full_text",
      `has ${words.length} words, the limit is ${limits.fullTextTermsMax}`,
    );
  }
  return words;
}

function unserved(field: string): Error {
  return invalidField("QUERY_INVALID", field, "is not served by this version; leave it empty");
}
