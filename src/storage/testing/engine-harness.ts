import type { Clock } from "../../lib/clock.ts";
import type { Limits } from "../../lib/limits.ts";
import type { SearchHits, TextMatch } from "../record-query.ts";
import type {
  RecordContent,
  RecordStore,
  StorageEngine,
  StoreLocation,
  WriteStep,
} from "../record-store.ts";
import type { StoreLayout, TextIndexDefinition } from "../store-layout.ts";

export interface HarnessOptions {
  readonly limits?: Partial<Limits>;
  readonly clock?: Clock;
}

/** An engine on storage of its own, which goes when the harness is disposed. */
export interface EngineHarness extends AsyncDisposable {
  readonly engine: StorageEngine;
  /** Closes the engine and opens one on the same storage, which is `engine` from then on. */
  reopen(): Promise<void>;
}

export type OpenHarness = (options?: HarnessOptions) => Promise<EngineHarness>;

export const people: StoreLocation = { storeId: "people", generation: 1n };

export const peopleText: TextIndexDefinition = {
  tokenizer: "words",
  fields: [
    { name: "name", weight: 1 },
    { name: "notes", weight: 1 },
  ],
};

export const peopleLayout: StoreLayout = {
  durability: "full",
  text: peopleText,
  vectors: [],
  indexes: [{ path: "age" }],
};

export type Fields = Readonly<Record<string, unknown>>;

/** Content of the fields that {@link peopleLayout} names, and others, for the first shape. */
export function contentOf(fields: Fields, more: Partial<RecordContent> = {}): RecordContent {
  const document = JSON.stringify(fields);
  const text = (value: unknown): string => (typeof value === "string" ? value : "");
  return {
    data: Buffer.from(document),
    document,
    shape: 1n,
    texts: [[text(fields["name"]), text(fields["notes"])]],
    vectors: [],
    expiresUs: undefined,
    ...more,
  };
}

export function createStep(
  id: string,
  fields: Fields = {},
  labels: Readonly<Record<string, string>> = {},
): WriteStep {
  return { kind: "create", id, content: contentOf(fields), labels };
}

export function updateStep(id: string, fields: Fields, ifVersion?: bigint): WriteStep {
  return { kind: "update", id, content: contentOf(fields), labels: undefined, ifVersion };
}

/** A store of {@link peopleLayout} with an engine of its own. */
export interface OpenedStore extends AsyncDisposable {
  readonly store: RecordStore;
}

export async function openPeople(
  open: OpenHarness,
  options?: HarnessOptions,
  layout: StoreLayout = peopleLayout,
): Promise<OpenedStore> {
  const harness = await open(options);
  await harness.engine.create(people, layout);
  return {
    store: harness.engine.store(people),
    [Symbol.asyncDispose]: () => harness[Symbol.asyncDispose](),
  };
}

/** Matches what holds all the words, in any field. */
export function allOf(words: readonly string[]): TextMatch {
  return {
    kind: "and",
    matches: words.map((text) => ({ kind: "term", text, prefix: false, field: undefined })),
  };
}

export function searchWords(
  store: RecordStore,
  words: readonly string[],
  { limit = 100, offset = 0 }: { readonly limit?: number; readonly offset?: number } = {},
): Promise<SearchHits> {
  return store.search({ text: allOf(words), limit, offset });
}

/** Ids of the records that hold all the words, in order of their names. */
export async function idsWith(store: RecordStore, ...words: string[]): Promise<string[]> {
  const { hits } = await searchWords(store, words);
  return hits.map(({ record }) => record.id).sort();
}

/** A clock that moves only when it is told to. */
export class ManualClock implements Clock {
  #nowUs = 1_700_000_000_000_000n;

  nowUs(): bigint {
    return this.#nowUs;
  }

  advanceMs(ms: number): void {
    this.#nowUs += BigInt(ms) * 1000n;
  }
}
