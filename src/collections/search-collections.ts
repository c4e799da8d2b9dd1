import { fromJson, type JsonObject } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../errors.ts";
import type { SearchCollectionsRequest } from "../gen/collector/collection_repo_pb.ts";
import { type SearchRequest, SearchRequestSchema } from "../gen/collector/collection_server_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { FoundRecords } from "./record-answers.ts";
import type { CallOptions, RecordCollection } from "./record-collection.ts";

/** Collections of one call. */
export const searchedCollectionsMax = 1000;
/** Searches of one call that run or wait at a time, so that other callers get their turn. */
const searchesAtATime = 4;
/** Reciprocal rank fusion: G. Cormack et al., SIGIR 2009; the constant is theirs. */
const fusionConstant = 60;

/** Where the collections are. */
export interface SearchedCatalog {
  /** Names of the collections of a namespace, in order. */
  namesIn(namespace: string): readonly string[];
  /** @throws {CollectorError} COLLECTION_NOT_FOUND */
  open(namespace: string, name: string): RecordCollection;
}

/** What one collection answered: what it found, or why it could not. */
export interface CollectionMatches {
  readonly collectionName: string;
  readonly found: FoundRecords | undefined;
  readonly error: CollectorError | undefined;
}

/** A match among those of all collections. */
export interface RankedMatch {
  readonly collectionName: string;
  /** Its place in the results of its collection. */
  readonly index: number;
  readonly score: number;
}

export interface MatchesOfCollections {
  /** One per collection, in the order that was asked for, or by name. */
  readonly collections: readonly CollectionMatches[];
  /** The best first. */
  readonly ranked: readonly RankedMatch[];
  readonly totalMatches: bigint;
  readonly totalCapped: boolean;
  /** Results of the lowest ranks were left out because together they were too large for an answer. */
  readonly truncated: boolean;
}

/**
 * Runs one search over several collections, a few at a time, and ranks what they find. Scores of two
 * collections do not compare, so matches are ranked by their place in their own collection.
 *
 * @throws {CollectorError} QUERY_INVALID for a query that is no SearchRequest; what the collections
 * failed with, if all did.
 */
export async function searchCollections(
  request: Pick<
    SearchCollectionsRequest,
    "namespace" | "collectionNames" | "query" | "limit" | "orderBy"
  >,
  catalog: SearchedCatalog,
  { messageBytesMax }: Pick<Limits, "messageBytesMax">,
  options: CallOptions = {},
): Promise<MatchesOfCollections> {
  const query = readQuery(request);
  const names = namesOf(request, catalog);
  const answers: CollectionMatches[] = [];
  const waiting = names.entries();
  const work = async () => {
    for (const [place, collectionName] of waiting) {
      options.signal?.throwIfAborted();
      const search = { ...query, namespace: request.namespace, collectionName };
      answers[place] = await searchOne(collectionName, search, catalog, options);
    }
  };
  await Promise.all(Array.from({ length: searchesAtATime }, work));
  const failed = answers.filter(({ error }) => error !== undefined);
  const [first] = failed;
  if (first?.error !== undefined && failed.length === answers.length) throw first.error;
  return fit(answers, messageBytesMax / 2);
}

function readQuery({
  query,
  limit,
  orderBy,
  namespace,
}: Pick<SearchCollectionsRequest, "query" | "limit" | "orderBy" | "namespace">): SearchRequest {
  const search = parseQuery(query ?? {});
  if (search.collectionName !== "") {
    throw invalidField("QUERY_INVALID", "query.collection_name", "is not used here; leave it out");
  }
  if (search.namespace !== "" && search.namespace !== namespace) {
    throw invalidField("NAMESPACE_MISMATCH", "query.namespace", "is another; leave it out");
  }
  return {
    ...search,
    limit: limit === 0 ? search.limit : limit,
    orderBy: orderBy === "" ? search.orderBy : orderBy,
  };
}

function parseQuery(query: JsonObject): SearchRequest {
  try {
    return fromJson(SearchRequestSchema, query);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw invalidField("QUERY_INVALID", "query", `is no SearchRequest in JSON: ${why}`);
  }
}

function namesOf(
  { namespace, collectionNames }: Pick<SearchCollectionsRequest, "namespace" | "collectionNames">,
  catalog: SearchedCatalog,
): string[] {
  const names =
    collectionNames.length > 0 ? [...new Set(collectionNames)] : [...catalog.namesIn(namespace)];
  if (names.length <= searchedCollectionsMax) return names;
  throw invalidField(
    "QUERY_INVALID",
    "collection_names",
    `${names.length} collections would be searched, the limit is ${searchedCollectionsMax}; name fewer`,
  );
}

async function searchOne(
  collectionName: string,
  search: SearchRequest,
  catalog: SearchedCatalog,
  options: CallOptions,
): Promise<CollectionMatches> {
  try {
    const records = catalog.open(search.namespace, collectionName);
    return { collectionName, found: await records.search(search, options), error: undefined };
  } catch (error) {
    // A bug is no answer of a collection, and a caller who has gone wants none.
    if (!(error instanceof CollectorError) || error.reason === "CANCELLED") throw error;
    return { collectionName, found: undefined, error };
  }
}

/** Ranks all matches, and keeps the best of them that are not too large together. */
function fit(answers: readonly CollectionMatches[], bytesMax: number): MatchesOfCollections {
  const all = answers.flatMap(({ collectionName, found }) =>
    (found?.results ?? []).map(({ item }, index) => ({
      collectionName,
      index,
      score: 1 / (fusionConstant + index + 1),
      bytes: item?.value.byteLength ?? 0,
    })),
  );
  // The order of collections decides between equal ranks: sorting is stable.
  all.sort((one, other) => other.score - one.score);
  let bytes = 0;
  const end = all.findIndex((match) => {
    bytes += match.bytes;
    return bytes > bytesMax;
  });
  const kept = end < 0 ? all : all.slice(0, Math.max(end, 1));
  const counts = new Map<string, number>();
  for (const { collectionName } of kept) {
    counts.set(collectionName, (counts.get(collectionName) ?? 0) + 1);
  }
  let totalMatches = 0n;
  for (const { found } of answers) totalMatches += found?.totalCount ?? 0n;
  return {
    collections: answers.map(({ collectionName, found, error }) => ({
      collectionName,
      // Ranks of one collection are kept from its best on.
      found: found && {
        ...found,
        results: found.results.slice(0, counts.get(collectionName) ?? 0),
      },
      error,
    })),
    ranked: kept.map(({ collectionName, index, score }) => ({ collectionName, index, score })),
    totalMatches,
    totalCapped: answers.some(({ found, error }) => error !== undefined || found?.totalCountCapped),
    truncated: kept.length < all.length,
  };
}
