import type { DescMessage, JsonObject, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { TextSyntax } from "../gen/collector/collection_server_pb.ts";
import type { RecordMeta } from "../gen/collector/common_pb.ts";
import { Change_Kind } from "../gen/collector/record_streams_pb.ts";
import { type BatchWrite, idOf, operationOf } from "./batch.ts";
import { ClientError } from "./client-error.ts";
import type { ItemCodec } from "./item-codec.ts";
import type { Services } from "./services.ts";
import { type WatchOptions, watchCollection } from "./watch.ts";
import type { JsonWhere, Where } from "./where.ts";

/** A record and what the server knows about it. */
export interface TypedRecord<T> extends RecordInfo {
  readonly item: T;
}

/** What the server knows about a record. */
export interface RecordInfo {
  readonly id: string;
  /** Changes with every write; pass it as `ifVersion` to write only what was read. */
  readonly version: string;
  readonly createdAt: Date | undefined;
  readonly updatedAt: Date | undefined;
  readonly labels: Readonly<Record<string, string>>;
}

export interface CallLimits {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

export interface CreateOptions extends CallLimits {
  /** Made by the server if it is not given. */
  readonly id?: string;
  readonly labels?: Readonly<Record<string, string>>;
  /** Makes a retry safe: a create that was done already answers what it answered then. */
  readonly requestId?: string;
}

export interface WriteOptions extends CallLimits {
  /** Fails with VERSION_MISMATCH unless this is still the record's version. */
  readonly ifVersion?: string;
  readonly requestId?: string;
}

export interface ListOptions<C> extends CallLimits {
  /** Only records for which this holds: conditions by field, or text in the filter language of AIP-160. */
  readonly where?: C | string;
  /** Records fetched at a time. */
  readonly pageSize?: number;
  /** Fields, each with ` desc` behind it or not, as in `price_cents desc, title`. */
  readonly orderBy?: string;
}

export interface SearchOptions<C> extends CallLimits {
  /** Only records for which this holds: conditions by field, or text in the filter language of AIP-160. */
  readonly where?: C | string;
  /** `advanced` gives AND, OR, NOT, quotes, `*` and `field:` a meaning; otherwise nothing has one. */
  readonly syntax?: "words" | "advanced";
  /** Fields, each with ` desc` behind it or not; the best match first if it is not given. */
  readonly orderBy?: string;
  /** A point to search near. */
  readonly vector?: readonly number[] | Float32Array;
  /** Which vector of the collection is meant, if it has several. */
  readonly vectorField?: string;
  readonly similarityThreshold?: number;
  /** Asks for the passages that match. */
  readonly highlight?: boolean;
  readonly limit?: number;
  readonly offset?: number;
}

export interface SearchHit<T> extends TypedRecord<T> {
  readonly score: number;
  /** From `vector`; 0 without one. */
  readonly distance: number;
  /** Passages with `[` and `]` around what matches, if they were asked for. */
  readonly passages: readonly string[];
}

/** A change of a record. */
export interface RecordChange<T> {
  /** `left`: the filter does not hold for the record any more, or in what is caught up, it never did. */
  readonly kind: "created" | "updated" | "deleted" | "left";
  readonly id: string;
  /** The version of the record, or the revision of its delete. */
  readonly version: string;
  /** The record after the change; undefined if it is deleted or has left, and for `idsOnly`. */
  readonly record: TypedRecord<T> | undefined;
  /** Where to go on after this change; a few before it may come again. */
  readonly resumeToken: string;
}

export interface CollectionOptions<Item, Init> {
  readonly records: Services["records"];
  readonly streams: Services["streams"];
  readonly namespace: string;
  readonly name: string;
  readonly items: ItemCodec<Item, Init>;
}

/** A collection whose type this program was built with. */
export type TypedCollection<Desc extends DescMessage> = RecordCollection<
  MessageShape<Desc>,
  MessageInitShape<Desc>,
  Where<MessageShape<Desc>>
>;

/**
 * A collection whose type this program was not built with. Items are JSON: 64-bit integers are strings,
 * bytes are base64, and an Any names its type in `@type`.
 */
export type JsonCollection = RecordCollection<JsonObject, JsonObject, JsonWhere>;

/**
 * The records of one collection.
 *
 * @typeParam Item a record's content as it is read
 * @typeParam Init the same as it may be written, or for `patch` the fields to change
 * @typeParam C conditions on the fields
 */
export class RecordCollection<Item, Init, C extends object> {
  readonly name: string;
  readonly namespace: string;
  readonly #records: Services["records"];
  readonly #streams: Services["streams"];
  readonly #items: ItemCodec<Item, Init>;

  constructor(options: CollectionOptions<Item, Init>) {
    this.name = options.name;
    this.namespace = options.namespace;
    this.#records = options.records;
    this.#streams = options.streams;
    this.#items = options.items;
  }

  /** @throws {ClientError} RECORD_EXISTS if there is a record with `options.id` */
  async create(item: Init, options: CreateOptions = {}): Promise<RecordInfo> {
    const { id = "", labels = {}, requestId = "" } = options;
    const response = await this.#records.create(
      {
        ...this.#target(),
        item: await this.#items.pack(item),
        id,
        labels: { ...labels },
        requestId,
      },
      limitsOf(options),
    );
    return toInfo(response.meta, response.id);
  }

  /** @throws {ClientError} RECORD_NOT_FOUND */
  async get(id: string, limits: CallLimits = {}): Promise<TypedRecord<Item>> {
    const { namespace, name: collectionName } = this;
    const request = { namespace, collectionName, id };
    const { meta, item: packed } = await this.#records.get(request, limitsOf(limits));
    const unpacked = this.#items.unpack(packed);
    return toRecord(meta, id, unpacked instanceof Promise ? await unpacked : unpacked);
  }

  /** The record, or undefined if there is none. */
  async find(id: string, limits: CallLimits = {}): Promise<TypedRecord<Item> | undefined> {
    try {
      return await this.get(id, limits);
    } catch (error) {
      if (error instanceof ClientError && error.reason === "RECORD_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Replaces a record. @throws {ClientError} RECORD_NOT_FOUND, VERSION_MISMATCH */
  async update(id: string, item: Init, options: WriteOptions = {}): Promise<RecordInfo> {
    return await this.#update(id, item, options, { updateMask: [], allowMissing: false });
  }

  /** Replaces a record or creates it. */
  async put(id: string, item: Init, options: WriteOptions = {}): Promise<RecordInfo> {
    return await this.#update(id, item, options, { updateMask: [], allowMissing: true });
  }

  /** Changes the fields that `fields` has, and no others. @throws {ClientError} RECORD_NOT_FOUND, VERSION_MISMATCH */
  async patch(id: string, fields: Init, options: WriteOptions = {}): Promise<RecordInfo> {
    const updateMask = await this.#items.maskOf(fields);
    return await this.#update(id, fields, options, { updateMask, allowMissing: false });
  }

  /** @throws {ClientError} RECORD_NOT_FOUND unless `allowMissing` */
  async delete(
    id: string,
    options: WriteOptions & { readonly allowMissing?: boolean } = {},
  ): Promise<void> {
    const { ifVersion = "", requestId = "", allowMissing = false } = options;
    await this.#records.delete(
      { ...this.#target(), id, ifMatch: ifVersion, requestId, allowMissing },
      limitsOf(options),
    );
  }

  /**
   * Does several writes in order, all of them or none; later ones see what earlier ones did.
   *
   * @returns what is known of each record; of a deleted one only its id
   * @throws {ClientError} BATCH_INVALID for none or more than the server takes (1,000 by default), and what a
   * write fails with: its violations name the operation
   */
  async batch(
    writes: readonly BatchWrite<Init>[],
    options: CallLimits & { readonly requestId?: string } = {},
  ): Promise<RecordInfo[]> {
    const { requestId = "" } = options;
    const operations = await Promise.all(writes.map((write) => operationOf(write, this.#items)));
    const { responses } = await this.#records.batch(
      { ...this.#target(), operations, requestId },
      limitsOf(options),
    );
    return responses.map(({ response }, index) => {
      const { case: kind, value } = response;
      if (kind === "create") return toInfo(value.meta, value.id);
      const id = idOf(writes[index]);
      return toInfo(kind === "update" ? value.meta : undefined, id);
    });
  }

  /** Every record, page after page; each page is fetched when the one before is used up. */
  async *list(options: ListOptions<C> = {}): AsyncIterable<TypedRecord<Item>> {
    const where = await this.#items.whereOf(options.where);
    let pageToken = "";
    do {
      const { pageSize = 0, orderBy = "" } = options;
      const page = await this.#records.list(
        { ...this.#target(), pageSize, orderBy, where, pageToken },
        limitsOf(options),
      );
      for (const [index, item] of page.items.entries()) {
        yield { ...toInfo(page.metas[index], ""), item: await this.#items.unpack(item) };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Records with all the words of `text`, the best first; an empty text is no criterion. */
  async search(text: string, options: SearchOptions<C> = {}): Promise<SearchHit<Item>[]> {
    const { limit = 0, offset = 0, orderBy = "", vector = [], vectorField = "" } = options;
    const response = await this.#records.search(
      {
        ...this.#target(),
        fullText: text,
        textSyntax: options.syntax === "advanced" ? TextSyntax.ADVANCED : TextSyntax.WORDS,
        where: await this.#items.whereOf(options.where),
        orderBy,
        ascending: true,
        vector: [...vector],
        vectorField,
        similarityThreshold: options.similarityThreshold ?? 0,
        limit,
        offset,
        ...(options.highlight === true ? { highlight: {} } : {}),
      },
      limitsOf(options),
    );
    const hits: SearchHit<Item>[] = [];
    for (const { item, meta, score, distance, highlights } of response.results) {
      const passages = highlights.map(({ passage }) => passage);
      const found = await this.#items.unpack(item);
      hits.push({ ...toInfo(meta, ""), score, distance, passages, item: found });
    }
    return hits;
  }

  /**
   * Changes as they happen, until the loop is left or the signal fires. What is missed while the
   * connection is lost is caught up.
   *
   * @throws {ClientError} HISTORY_GONE if `resumeToken` is too old; see {@link watchCollection}
   */
  async *watch(options: WatchOptions<C> = {}): AsyncIterable<RecordChange<Item>> {
    let resumeToken = options.resumeToken ?? "";
    const onBegin = (token: string): void => {
      resumeToken = token;
      options.onBegin?.(token);
    };
    const where = await this.#items.whereOf(options.where);
    const how = { ...options, where, onBegin };
    const responses = watchCollection(this.#streams, this.#target(), how);
    for await (const response of responses) {
      const last = response.changes.at(-1);
      for (const change of response.changes) {
        if (change === last) resumeToken = response.resumeToken;
        const { id, item, meta } = change;
        const record =
          item === undefined
            ? undefined
            : { ...toInfo(meta, id), item: await this.#items.unpack(item) };
        yield { kind: kindOf(change.kind), id, version: meta?.version ?? "", record, resumeToken };
      }
    }
  }

  async #update(
    id: string,
    item: Init,
    options: WriteOptions,
    how: { readonly updateMask: string[]; readonly allowMissing: boolean },
  ): Promise<RecordInfo> {
    const { ifVersion = "", requestId = "" } = options;
    const response = await this.#records.update(
      {
        ...this.#target(),
        id,
        item: await this.#items.pack(item),
        ifMatch: ifVersion,
        requestId,
        ...how,
      },
      limitsOf(options),
    );
    return toInfo(response.meta, id);
  }

  #target(): { namespace: string; collectionName: string } {
    return { namespace: this.namespace, collectionName: this.name };
  }
}

const noLimits = {};

export function limitsOf({ signal, timeoutMs }: CallLimits): {
  signal?: AbortSignal;
  timeoutMs?: number;
} {
  if (signal === undefined && timeoutMs === undefined) return noLimits;
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}

/** As a literal, and not a spread of {@link toInfo}: this is made for every record that is read. */
function toRecord<T>(meta: RecordMeta | undefined, id: string, item: T): TypedRecord<T> {
  const { id: knownId, version, createdAt, updatedAt, labels } = toInfo(meta, id);
  return { id: knownId, version, createdAt, updatedAt, labels, item };
}

function toInfo(meta: RecordMeta | undefined, id: string): RecordInfo {
  return {
    id: meta?.id ?? id,
    version: meta?.version ?? "",
    createdAt: meta?.createdAt === undefined ? undefined : timestampDate(meta.createdAt),
    updatedAt: meta?.updatedAt === undefined ? undefined : timestampDate(meta.updatedAt),
    labels: meta?.labels ?? {},
  };
}

function kindOf(kind: Change_Kind): RecordChange<unknown>["kind"] {
  switch (kind) {
    case Change_Kind.CREATED:
      return "created";
    case Change_Kind.DELETED:
      return "deleted";
    case Change_Kind.LEFT:
      return "left";
    default:
      return "updated";
  }
}
