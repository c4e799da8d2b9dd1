import { type DescMessage, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { TextSyntax } from "../gen/collector/collection_server_pb.ts";
import type { RecordMeta } from "../gen/collector/common_pb.ts";
import { Change_Kind } from "../gen/collector/record_streams_pb.ts";
import { type BatchWrite, idOf, operationOf } from "./batch.ts";
import { ClientError } from "./client-error.ts";
import { ItemCodec } from "./item-codec.ts";
import type { Services } from "./services.ts";
import { type WatchOptions, watchCollection } from "./watch.ts";
import { type Where, whereText } from "./where.ts";

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

export interface ListOptions<T> extends CallLimits {
  /** Only records for which this holds: conditions by field, or text in the filter language of AIP-160. */
  readonly where?: Where<T> | string;
  /** Records fetched at a time. */
  readonly pageSize?: number;
  /** Fields, each with ` desc` behind it or not, as in `price_cents desc, title`. */
  readonly orderBy?: string;
}

export interface SearchOptions<T> extends CallLimits {
  /** Only records for which this holds: conditions by field, or text in the filter language of AIP-160. */
  readonly where?: Where<T> | string;
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

export interface CollectionOptions<Desc extends DescMessage> {
  readonly records: Services["records"];
  readonly streams: Services["streams"];
  readonly namespace: string;
  readonly name: string;
  readonly schema: Desc;
}

/** The records of one collection, with the type that this program was built with. */
export class TypedCollection<Desc extends DescMessage> {
  readonly name: string;
  readonly namespace: string;
  readonly #records: Services["records"];
  readonly #streams: Services["streams"];
  readonly #schema: Desc;
  readonly #items: ItemCodec<Desc>;

  constructor(options: CollectionOptions<Desc>) {
    this.name = options.name;
    this.namespace = options.namespace;
    this.#records = options.records;
    this.#streams = options.streams;
    this.#schema = options.schema;
    this.#items = new ItemCodec(options.schema, options.name);
  }

  /** @throws {ClientError} RECORD_EXISTS if there is a record with `options.id` */
  async create(item: MessageInitShape<Desc>, options: CreateOptions = {}): Promise<RecordInfo> {
    const { id = "", labels = {}, requestId = "" } = options;
    const response = await this.#records.create(
      { ...this.#target(), item: this.#items.pack(item), id, labels: { ...labels }, requestId },
      limitsOf(options),
    );
    return toInfo(response.meta, response.id);
  }

  /** @throws {ClientError} RECORD_NOT_FOUND */
  async get(id: string, limits: CallLimits = {}): Promise<TypedRecord<MessageShape<Desc>>> {
    const response = await this.#records.get({ ...this.#target(), id }, limitsOf(limits));
    return { ...toInfo(response.meta, id), item: this.#items.unpack(response.item) };
  }

  /** The record, or undefined if there is none. */
  async find(
    id: string,
    limits: CallLimits = {},
  ): Promise<TypedRecord<MessageShape<Desc>> | undefined> {
    try {
      return await this.get(id, limits);
    } catch (error) {
      if (error instanceof ClientError && error.reason === "RECORD_NOT_FOUND") return undefined;
      throw error;
    }
  }

  /** Replaces a record. @throws {ClientError} RECORD_NOT_FOUND, VERSION_MISMATCH */
  async update(
    id: string,
    item: MessageInitShape<Desc>,
    options: WriteOptions = {},
  ): Promise<RecordInfo> {
    return await this.#update(id, item, options, { updateMask: [], allowMissing: false });
  }

  /** Replaces a record or creates it. */
  async put(
    id: string,
    item: MessageInitShape<Desc>,
    options: WriteOptions = {},
  ): Promise<RecordInfo> {
    return await this.#update(id, item, options, { updateMask: [], allowMissing: true });
  }

  /** Changes the fields that `fields` has, and no others. @throws {ClientError} RECORD_NOT_FOUND, VERSION_MISMATCH */
  async patch(
    id: string,
    fields: MessageInitShape<Desc>,
    options: WriteOptions = {},
  ): Promise<RecordInfo> {
    const updateMask = this.#items.maskOf(fields);
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
    writes: readonly BatchWrite<Desc>[],
    options: CallLimits & { readonly requestId?: string } = {},
  ): Promise<RecordInfo[]> {
    const { requestId = "" } = options;
    const operations = writes.map((write) => operationOf(write, this.#items));
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
  async *list(
    options: ListOptions<MessageShape<Desc>> = {},
  ): AsyncIterable<TypedRecord<MessageShape<Desc>>> {
    const where = whereText(this.#schema, options.where);
    let pageToken = "";
    do {
      const { pageSize = 0, orderBy = "" } = options;
      const page = await this.#records.list(
        { ...this.#target(), pageSize, orderBy, where, pageToken },
        limitsOf(options),
      );
      for (const [index, item] of page.items.entries()) {
        yield { ...toInfo(page.metas[index], ""), item: this.#items.unpack(item) };
      }
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  }

  /** Records with all the words of `text`, the best first; an empty text is no criterion. */
  async search(
    text: string,
    options: SearchOptions<MessageShape<Desc>> = {},
  ): Promise<SearchHit<MessageShape<Desc>>[]> {
    const { limit = 0, offset = 0, orderBy = "", vector = [], vectorField = "" } = options;
    const response = await this.#records.search(
      {
        ...this.#target(),
        fullText: text,
        textSyntax: options.syntax === "advanced" ? TextSyntax.ADVANCED : TextSyntax.WORDS,
        where: whereText(this.#schema, options.where),
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
    return response.results.map(({ item, meta, score, distance, highlights }) => ({
      ...toInfo(meta, ""),
      score,
      distance,
      passages: highlights.map(({ passage }) => passage),
      item: this.#items.unpack(item),
    }));
  }

  /**
   * Changes as they happen, until the loop is left or the signal fires. What is missed while the
   * connection is lost is caught up.
   *
   * @throws {ClientError} HISTORY_GONE if `resumeToken` is too old; see {@link watchCollection}
   */
  async *watch(options: WatchOptions = {}): AsyncIterable<RecordChange<MessageShape<Desc>>> {
    let resumeToken = options.resumeToken ?? "";
    const onBegin = (token: string): void => {
      resumeToken = token;
      options.onBegin?.(token);
    };
    const responses = watchCollection(this.#streams, this.#target(), { ...options, onBegin });
    for await (const response of responses) {
      const last = response.changes.at(-1);
      for (const change of response.changes) {
        if (change === last) resumeToken = response.resumeToken;
        const { id, item, meta } = change;
        const record =
          item === undefined ? undefined : { ...toInfo(meta, id), item: this.#items.unpack(item) };
        yield { kind: kindOf(change.kind), id, version: meta?.version ?? "", record, resumeToken };
      }
    }
  }

  async #update(
    id: string,
    item: MessageInitShape<Desc>,
    options: WriteOptions,
    how: { readonly updateMask: string[]; readonly allowMissing: boolean },
  ): Promise<RecordInfo> {
    const { ifVersion = "", requestId = "" } = options;
    const response = await this.#records.update(
      {
        ...this.#target(),
        id,
        item: this.#items.pack(item),
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

export function limitsOf({ signal, timeoutMs }: CallLimits): {
  signal?: AbortSignal;
  timeoutMs?: number;
} {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
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
