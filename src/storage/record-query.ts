import type { StoredRecord } from "./stored-record.ts";

/** A value as documents hold it. True and false equal 1 and 0 nowhere: compare bools with bools. */
export type FieldValue = bigint | number | string | boolean;

/**
 * One step into a document: to a member of an object, to each item of an array, to each value of an
 * object (a map), or, in JSON of no fixed shape, to each item if it is an array and to itself if not.
 */
export type FieldStep =
  | { readonly kind: "member"; readonly name: string }
  | { readonly kind: "items" }
  | { readonly kind: "values" }
  | { readonly kind: "itemsOrSelf" };

/** Where a query finds values of a record: any number of them. */
export type ValueSource =
  | {
      readonly kind: "field";
      readonly steps: readonly FieldStep[];
      /** Name of the index that holds just these values, if there is one; see IndexDefinition. */
      readonly index: string | undefined;
    }
  /** `version`, and `created` and `updated` in microseconds of Unix time, are integers. */
  | { readonly kind: "meta"; readonly name: "id" | "version" | "created" | "updated" }
  | { readonly kind: "label"; readonly key: string };

/**
 * What must hold of a record. A comparison holds if it holds for any of the values at its source, so
 * it does not hold where there is none; `not` is the plain opposite. Values of different types (number,
 * text, bool) are never equal and never ordered. Text is ordered by code points.
 */
export type Condition =
  | { readonly kind: "always" }
  | { readonly kind: "never" }
  | { readonly kind: "and"; readonly conditions: readonly Condition[] }
  | { readonly kind: "or"; readonly conditions: readonly Condition[] }
  | { readonly kind: "not"; readonly condition: Condition }
  | {
      readonly kind: "compare";
      readonly source: ValueSource;
      readonly operator: "eq" | "lt" | "le" | "gt" | "ge";
      readonly value: FieldValue;
    }
  | { readonly kind: "in"; readonly source: ValueSource; readonly values: readonly FieldValue[] }
  /** Text that holds `text`, or begins with it; letter case counts, and nothing in it is special. */
  | { readonly kind: "substring"; readonly source: ValueSource; readonly text: string }
  | { readonly kind: "prefix"; readonly source: ValueSource; readonly text: string }
  /** Something that is not null is there: also an object or an array. */
  | { readonly kind: "exists"; readonly source: ValueSource };

/** A key to sort by: its source has one value at most. Records without one come last, or first if descending. */
export interface OrderKey {
  readonly source: ValueSource;
  readonly descending: boolean;
}

export interface ReadOptions {
  /** Stops the query; what it held is free again soon after. */
  readonly signal?: AbortSignal | undefined;
  /** Longest run time in ms; over it the query is stopped with QUERY_TIMEOUT. */
  readonly budgetMs?: number | undefined;
}

export interface ListQuery {
  /** Undefined: all records. */
  readonly where?: Condition | undefined;
  /** After the last key, in order of creation. */
  readonly order?: readonly OrderKey[] | undefined;
  readonly limit: number;
  /** The `next` of the page before, of the same `where` and `order`. */
  readonly after?: string | undefined;
}

/** What a query did, for who wants to know why it took its time. */
export interface QueryRun {
  /** One line per step, for people. */
  readonly steps: readonly string[];
  /** Names of the field indexes that were used. */
  readonly indexes: readonly string[];
  readonly rowsVisited: number;
  readonly runTimeUs: number;
  /** Names of indexes that would have spared most of the rows. */
  readonly suggestedIndexes: readonly string[];
}

export interface ListPage {
  readonly records: readonly StoredRecord[];
  /** Where the next page starts; undefined on the last page. Opaque; holds the last record's order keys. */
  readonly next: string | undefined;
  /** Of the first page: a later page repeats what its `after` says. */
  readonly totalCount: bigint;
  /** True if counting stopped there: at {@link countCap} or when it would have taken too long. */
  readonly totalCapped: boolean;
  readonly run: QueryRun;
}

/**
 * What text must hold. A term is taken literally: it may become several words, which then must stand in
 * a row. A term with no word in it holds nowhere by itself and is passed over in `and` and `or`.
 */
export type TextMatch =
  | {
      readonly kind: "term";
      readonly text: string;
      /** The last word only has to begin so. */
      readonly prefix: boolean;
      /** Name of the text field it must stand in; undefined: any. */
      readonly field: string | undefined;
    }
  | { readonly kind: "and" | "or"; readonly matches: readonly TextMatch[] }
  | { readonly kind: "butNot"; readonly match: TextMatch; readonly without: TextMatch };

/** Nearness to a point. Records without the vector are not near. */
export interface NearMatch {
  /** Name of the vector index. */
  readonly vector: string;
  readonly point: Float32Array;
  /** Largest distance; undefined: any. */
  readonly distanceMax: number | undefined;
}

/** Asks for the values of an indexed field and how many matching records have each. */
export interface FacetQuery {
  /** Name of the index. */
  readonly index: string;
  readonly source: ValueSource;
  readonly limit: number;
}

export interface SearchQuery {
  readonly text?: TextMatch | undefined;
  /** Together with `text`, what matches one of them is found and ranked by both. */
  readonly near?: NearMatch | undefined;
  readonly where?: Condition | undefined;
  /** Undefined: the best first, or in order of creation if there is neither `text` nor `near`. */
  readonly order?: readonly OrderKey[] | undefined;
  readonly limit: number;
  readonly offset: number;
  readonly facets?: readonly FacetQuery[] | undefined;
}

export interface SearchHit {
  readonly record: StoredRecord;
  /** Higher is better: the text's score, the similarity, or the two fused; 0 without either. */
  readonly score: number;
  /** bm25, higher is better. Undefined without a match in the text. */
  readonly textScore: number | undefined;
  /** Undefined without a vector. */
  readonly distance: number | undefined;
}

export interface FacetCounts {
  /** Most records first. */
  readonly values: readonly { readonly value: bigint | number | string; readonly count: number }[];
  /** True if not all that matches was counted. */
  readonly approximate: boolean;
}

export interface SearchHits {
  readonly hits: readonly SearchHit[];
  readonly totalCount: bigint;
  readonly totalCapped: boolean;
  /** True if not all that matches was ranked. */
  readonly approximate: boolean;
  /** One per facet that was asked for. */
  readonly facets: readonly FacetCounts[];
  readonly run: QueryRun;
}

/** Matches are counted exactly up to here. */
export const countCap = 10_000;

/** Asks for the passages of texts that match. */
export interface PassageQuery {
  readonly match: TextMatch;
  /** One list per record: its texts, in the order of the text index's fields. */
  readonly texts: readonly (readonly string[])[];
  readonly startMark: string;
  readonly endMark: string;
  /** Words of a passage, about; undefined: the whole text. */
  readonly wordsMax: number | undefined;
}

/** A passage that matches. */
export interface Passage {
  /** Name of the text field. */
  readonly field: string;
  readonly passage: string;
}

/** All records of a store at one moment, read bit by bit. Holds that moment until it is disposed. */
export interface RecordScan extends AsyncDisposable {
  /** The store's revision at that moment. */
  readonly revision: bigint;
  readonly incarnation: string;
  readonly recordCount: bigint;
  /**
   * The next records in order of creation, a few hundred KiB of them; undefined at the end.
   *
   * @throws {CollectorError} STORAGE_UNAVAILABLE if the reader died: the scan is over.
   */
  next(): Promise<readonly StoredRecord[] | undefined>;
}
