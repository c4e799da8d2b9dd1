/** How text becomes words: `unicode61` without diacritics, with them, stemmed, or every three characters. */
export type Tokenizer = "words" | "exact-words" | "english" | "trigram";

/** A text field of a store. */
export interface TextFieldDefinition {
  /** Names the field; what it means is the caller's business. Empty if all text is one field. */
  readonly name: string;
  /** How much a match in it counts beside the others. */
  readonly weight: number;
}

/** What full-text search looks at. */
export interface TextIndexDefinition {
  readonly tokenizer: Tokenizer;
  /** 1 to 16, with different names. */
  readonly fields: readonly TextFieldDefinition[];
}

/** Vectors to find records by. */
export interface VectorIndexDefinition {
  /** `[a-z][a-z0-9_]*` */
  readonly name: string;
  readonly dimensions: number;
  readonly metric: "cosine" | "l2";
}

/** A field to index. */
export interface IndexDefinition {
  /** The field's path in the document, as in `price.cents`; also the index's name. */
  readonly path: string;
}

/** How a store is laid out when it is made. Indexes, text and vectors can change later. */
export interface StoreLayout {
  /** `full`: acknowledged means on disk. `relaxed`: the last moments before a power cut may be lost. */
  readonly durability: "full" | "relaxed";
  /** Undefined if nothing is searched for words. */
  readonly text: TextIndexDefinition | undefined;
  readonly vectors: readonly VectorIndexDefinition[];
  readonly indexes: readonly IndexDefinition[];
}

/** Whether an index serves queries already. */
export type BuildState = "building" | "ready";

export interface IndexState {
  readonly path: string;
  readonly state: BuildState;
}

export interface TextIndexState {
  readonly definition: TextIndexDefinition;
  readonly state: BuildState;
}

export interface VectorIndexState {
  readonly definition: VectorIndexDefinition;
  readonly state: BuildState;
}

/**
 * What has to be derived from a record for a store to take it. It changes when text or vector indexes
 * are added or dropped; content that was derived for another version is refused.
 */
export interface StoreShape {
  /** Different after each change. */
  readonly version: bigint;
  /** None, the one that serves, or that and the one that is being built to take its place. */
  readonly texts: readonly TextIndexState[];
  /** At most one per name, and the one that is being built to take its place. */
  readonly vectors: readonly VectorIndexState[];
}
