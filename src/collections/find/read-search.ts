import type { DescMessage } from "@bufbuild/protobuf";
import { invalidField } from "../../errors.ts";
import type { Collection, VectorField } from "../../gen/collector/collection_pb.ts";
import type { SearchRequest } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { didYouMean } from "../../lib/suggest.ts";
import { quote } from "../../registry/names.ts";
import type { NearMatch, SearchQuery, TextMatch } from "../../storage/record-query.ts";
import { faultOfVector } from "../derive/vector-values.ts";
import { allOf } from "../filters/conditions.ts";
import { type Facet, readFacet } from "../filters/facets.ts";
import { labelConditions } from "../filters/label-conditions.ts";
import { parseOrderBy } from "../filters/order-by.ts";
import { parseFilterMap } from "../filters/struct-filter.ts";
import { parseTextQuery } from "../filters/text-query.ts";
import { parseWhere } from "../filters/where.ts";
import { textIndexOf } from "../text-definition.ts";
import { vectorIndexesOf } from "../vector-definition.ts";
import { distanceMaxOf } from "./similarity.ts";

export type SearchCriteria = Omit<
  SearchRequest,
  "$typeName" | "$unknown" | "namespace" | "collectionName" | "explain" | "highlight"
>;

/** Most results that a search may leave out: what it leaves out it has to find first. */
const offsetMax = 10_000;
const facetsMax = 8;
const facetValuesDefault = 10;
const facetValuesMax = 100;

export interface ReadSearchOptions {
  readonly desc: DescMessage;
  readonly definition: Collection;
  /** Paths that have an index which is ready. */
  readonly indexed: readonly string[];
  readonly limits: Limits;
}

/** What a search is to find, and how to answer its facets. */
export interface ReadSearch {
  readonly query: SearchQuery;
  readonly facets: readonly Facet[];
  /** The vector field that is searched. */
  readonly vectorField: VectorField | undefined;
}

/** @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN naming the criterion and the place in it. */
export function readSearch(criteria: SearchCriteria, options: ReadSearchOptions): ReadSearch {
  const { desc, definition, limits } = options;
  const { filters, labelFilters, where, orderBy, ascending } = criteria;
  const vectorField = criteria.vector.length === 0 ? undefined : vectorOf(criteria, definition);
  const facets = readFacets(criteria, options);
  return {
    query: {
      text: readText(criteria, definition, limits),
      near: vectorField === undefined ? undefined : readNear(criteria, vectorField),
      where: allOf([
        parseFilterMap(filters, desc, "filters", limits),
        parseWhere(where, desc, limits),
        labelConditions(labelFilters),
      ]),
      order:
        orderBy === ""
          ? undefined
          : parseOrderBy(orderBy, desc, { limits, ascendingDefault: ascending }),
      limit: readLimit(criteria, limits),
      offset: readOffset(criteria),
      facets: facets.map(({ query }) => query),
    },
    facets,
    vectorField,
  };
}

function readText(
  { fullText, textSyntax }: SearchCriteria,
  definition: Collection,
  limits: Limits,
): TextMatch | undefined {
  if (fullText === "") return undefined;
  const index = textIndexOf(definition);
  if (index === undefined) {
    throw invalidField(
      "QUERY_INVALID",
      "full_text",
      "cannot be searched: full-text search of this collection is disabled",
    );
  }
  const { tokenizer, fields } = index;
  const searched = { tokenizer, fields: fields.map(({ name }) => name) };
  return parseTextQuery(fullText, textSyntax, searched, limits);
}

function vectorOf({ vectorField }: SearchCriteria, { vectorFields }: Collection): VectorField {
  const names = vectorFields.map(({ name }) => name);
  const [only, ...others] = vectorFields;
  if (only === undefined) {
    throw invalidField("QUERY_INVALID", "vector", "cannot be searched: the collection has none");
  }
  if (vectorField === "") {
    if (others.length === 0) return only;
    throw invalidField(
      "QUERY_INVALID",
      "vector_field",
      `is missing, and the collection has several: send one of ${names.join(", ")}`,
    );
  }
  const found = vectorFields.find(({ name }) => name === vectorField);
  if (found !== undefined) return found;
  throw invalidField(
    "QUERY_INVALID",
    "vector_field",
    `there is no vector ${quote(vectorField)}${didYouMean(vectorField, names) || `; there are ${names.join(", ")}`}`,
  );
}

function readNear({ vector, similarityThreshold }: SearchCriteria, field: VectorField): NearMatch {
  const point = Float32Array.from(vector);
  const [definition] = vectorIndexesOf({ vectorFields: [field] });
  const fault = definition === undefined ? undefined : faultOfVector(point, definition);
  if (fault !== undefined) throw invalidField("QUERY_INVALID", "vector", fault);
  return {
    vector: field.name,
    point,
    distanceMax: distanceMaxOf(similarityThreshold, field.metric),
  };
}

function readFacets(
  { facets, facetValuesMax: wanted }: SearchCriteria,
  { desc, indexed }: ReadSearchOptions,
): Facet[] {
  if (facets.length > facetsMax) {
    throw invalidField(
      "QUERY_INVALID",
      "facets",
      `has ${facets.length} fields, the limit is ${facetsMax}`,
    );
  }
  if (wanted < 0) {
    throw invalidField(
      "QUERY_INVALID",
      "facet_values_max",
      `is ${wanted}; send 1 to ${facetValuesMax}, or 0 for ${facetValuesDefault}`,
    );
  }
  const valuesMax = Math.min(wanted === 0 ? facetValuesDefault : wanted, facetValuesMax);
  return facets.map((path, index) =>
    readFacet(path, desc, { indexed, valuesMax, argument: `facets[${index}]` }),
  );
}

function readLimit({ limit }: SearchCriteria, limits: Limits): number {
  const { pageSizeDefault, pageSizeMax } = limits;
  if (limit < 0) {
    throw invalidField("QUERY_INVALID", "limit", `is ${limit}; send 1 to ${pageSizeMax}`);
  }
  return Math.min(limit === 0 ? pageSizeDefault : limit, pageSizeMax);
}

function readOffset({ offset }: SearchCriteria): number {
  if (offset >= 0 && offset <= offsetMax) return offset;
  throw invalidField("QUERY_INVALID", "offset", `is ${offset}; send 0 to ${offsetMax}`);
}
