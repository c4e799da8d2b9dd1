import type { DescMessage } from "@bufbuild/protobuf";
import { fromJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { type Collection, VectorField_Metric } from "../../gen/collector/collection_pb.ts";
import type {
  Facet as AnsweredFacet,
  Highlight,
  ListRequest,
  SearchRequest,
  SearchResult,
} from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { encodePageToken, type PageQuery, readPage } from "../../lib/page-token.ts";
import type { FacetCounts, ReadOptions, SearchHit, TextMatch } from "../../storage/record-query.ts";
import type { RecordStore } from "../../storage/record-store.ts";
import type { Facet } from "../filters/facets.ts";
import { anyOf, type FoundRecords, type ListedRecords, recordMeta } from "../record-answers.ts";
import { highlightOf, readHighlight } from "./highlights.ts";
import { queryPlan } from "./query-plan.ts";
import { criteriaParts, readListQuery } from "./read-list.ts";
import { readSearch, type SearchCriteria } from "./read-search.ts";
import { similarityOf } from "./similarity.ts";

export type ListRecords = Omit<
  ListRequest,
  "$typeName" | "$unknown" | "namespace" | "collectionName"
>;
export type SearchRecords = SearchCriteria & Pick<SearchRequest, "explain" | "highlight">;

export interface RecordQueriesOptions {
  readonly store: RecordStore;
  readonly limits: Limits;
  readonly typeUrl: string;
  /** The definition in force. */
  readonly definition: () => Collection;
  /** The type in force. @throws {CollectorError} TYPE_NOT_REGISTERED */
  readonly desc: () => DescMessage;
  /** The searched texts of a message, in the order of the definition's text fields. */
  readonly textsOf: (data: Uint8Array) => Promise<readonly string[]>;
}

/** Finds records of one collection. */
export class RecordQueries {
  readonly #options: RecordQueriesOptions;

  constructor(options: RecordQueriesOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID, QUERY_INVALID, FIELD_UNKNOWN, QUERY_TIMEOUT */
  async list(request: ListRecords, reading: ReadOptions): Promise<ListedRecords> {
    const { store, limits, typeUrl, desc } = this.#options;
    const token = this.#pageQuery(request);
    const { size, after } = readPage(request, token, limits);
    const query = readListQuery(request, desc(), limits);
    const page = await store.list({ ...query, limit: size, after }, reading);
    return {
      items: page.records.map((record) => anyOf(typeUrl, record.data)),
      metas: page.records.map((record) => recordMeta(record)),
      nextPageToken: page.next === undefined ? "" : encodePageToken(token, page.next),
      totalCount: page.totalCount,
      totalCountCapped: page.totalCapped,
      ...(request.explain ? { plan: queryPlan(page.run) } : {}),
    };
  }

  /** @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN, QUERY_TIMEOUT */
  async search(request: SearchRecords, reading: ReadOptions): Promise<FoundRecords> {
    const { store, limits, definition, desc } = this.#options;
    const indexed = request.facets.length === 0 ? [] : await this.#readyIndexes();
    const options = { desc: desc(), definition: definition(), indexed, limits };
    const { query, facets, vectorField } = readSearch(request, options);
    const marks = request.highlight === undefined ? undefined : readHighlight(request.highlight);
    const found = await store.search(query, reading);
    const passages =
      marks === undefined || query.text === undefined
        ? []
        : await this.#passages(found.hits, query.text, marks, reading);
    const metric = vectorField?.metric ?? VectorField_Metric.COSINE;
    return {
      results: found.hits.map((hit, index) => this.#result(hit, metric, passages[index] ?? [])),
      totalCount: found.totalCount,
      totalCountCapped: found.totalCapped,
      approximate: found.approximate,
      facets: found.facets.map((counts, index) =>
        answeredFacet(request.facets[index] ?? "", facets[index], counts),
      ),
      ...(request.explain ? { plan: queryPlan(found.run) } : {}),
    };
  }

  #result(
    { record, score, textScore, distance }: SearchHit,
    metric: VectorField_Metric,
    highlights: Highlight[],
  ): SearchResult {
    return {
      $typeName: "collector.SearchResult",
      item: anyOf(this.#options.typeUrl, record.data),
      score,
      distance: distance ?? 0,
      meta: recordMeta(record),
      ...(textScore === undefined ? {} : { textScore }),
      ...(distance === undefined ? {} : { vectorScore: similarityOf(distance, metric) }),
      highlights,
    };
  }

  async #passages(
    hits: readonly SearchHit[],
    match: TextMatch,
    marks: ReturnType<typeof readHighlight>,
    reading: ReadOptions,
  ): Promise<Highlight[][]> {
    const { store, textsOf } = this.#options;
    const texts: (readonly string[])[] = [];
    for (const { record } of hits) texts.push(await textsOf(record.data));
    const passages = await store.passages({ match, texts, ...marks }, reading);
    return passages.map((ofRecord) => ofRecord.map(highlightOf));
  }

  async #readyIndexes(): Promise<string[]> {
    const { indexes } = await this.#options.store.stats();
    return indexes.filter(({ state }) => state === "ready").map(({ path }) => path);
  }

  /** Ties a token to this query and this data: a restore makes it worthless, a rename does not. */
  #pageQuery(request: ListRecords): PageQuery {
    const { collectionId, generation } = this.#options.definition();
    return ["List", collectionId, String(generation), ...criteriaParts(request)];
  }
}

function answeredFacet(
  path: string,
  facet: Facet | undefined,
  { values, approximate }: FacetCounts,
): AnsweredFacet {
  return {
    $typeName: "collector.Facet",
    path,
    values: values.map(({ value, count }) => ({
      $typeName: "collector.Facet.Value",
      value: fromJson(ValueSchema, facet?.toJson(value) ?? null),
      count: BigInt(count),
    })),
    approximate,
  };
}
