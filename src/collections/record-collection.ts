import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type {
  BatchRequest,
  GetRequest,
  RecordResult,
  ResponseOp,
} from "../gen/collector/collection_server_pb.ts";
import type {
  ExportRequest,
  ExportResponse,
  WatchRequest,
  WatchResponse,
} from "../gen/collector/record_streams_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { Limits } from "../lib/limits.ts";
import { systemNamespace } from "../registry/names.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import type { Condition, ReadOptions } from "../storage/record-query.ts";
import type { RecordStore, StepOutcome, StoreStats, Write } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import { type BatchScope, batchParts, checkBatch, responseOps } from "./batch.ts";
import { DerivePlan } from "./derive/derive-plan.ts";
import { expirySourceOf } from "./expiry-definition.ts";
import { type ExportScope, exportRecords } from "./export.ts";
import { parseWhere } from "./filters/where.ts";
import { type ListRecords, RecordQueries, type SearchRecords } from "./find/record-queries.ts";
import { typeUrlOf } from "./items.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import { refuseSystemWrite } from "./names.ts";
import {
  type CreatedRecord,
  type DeletedRecord,
  type FoundRecord,
  type FoundRecords,
  type ListedRecords,
  recordMeta,
  type UpdatedRecord,
} from "./record-answers.ts";
import { aboutRecord, deletedCollection, missingType } from "./record-failures.ts";
import { RecordReads } from "./record-reads.ts";
import {
  type CollectionType,
  type CreateRecord,
  createParts,
  type DeleteRecord,
  deleteParts,
  RecordRequests,
  type RecordWrite,
  type UpdateRecord,
  updateParts,
  type WriteTarget,
  writeRequest,
} from "./record-requests.ts";
import { RecordWriter } from "./record-writer.ts";
import { rehearse } from "./rehearse.ts";
import { vectorPathsOf } from "./vector-definition.ts";
import { compileCondition, EvaluatedRecord } from "./watch/evaluate.ts";
import { WatchPoint } from "./watch/watch-point.ts";
import { watchRecords } from "./watch/watch-records.ts";
import type { Watches } from "./watch/watches.ts";

/** What a call lends to the work it asks for. */
export interface CallOptions {
  /** Fires when nobody waits for the answer any more. */
  readonly signal?: AbortSignal | undefined;
}

/** A collection as its catalog sees it now. A rename or a delete shows at once. */
export interface CollectionState {
  readonly definition: Collection;
  /** What records are derived for: while the definition is being altered, what it will be. */
  readonly derivedFor: Collection;
  readonly isDeleted: boolean;
}

export interface RecordCollectionOptions {
  readonly state: CollectionState;
  readonly store: RecordStore;
  readonly types: TypeSource;
  readonly limits: Limits;
  readonly locks: KeyedLock;
  readonly clock: Clock;
  readonly watches: Watches;
  /** Told when a record is about to be written that expires. */
  readonly onExpiry?: ((expiresUs: bigint) => void) | undefined;
}

/** How often a write is begun anew because what is derived from records has changed meanwhile. */
const shapeAttemptsMax = 8;

/**
 * The records of one collection, as callers see them: typed, checked, with the errors of the API.
 * Everything but the store's work is done from memory.
 *
 * Every method may fail with COLLECTION_NOT_FOUND if the collection was deleted meanwhile, with
 * TYPE_NOT_REGISTERED if its type is gone, and with the storage's failures.
 */
export class RecordCollection {
  readonly #state: CollectionState;
  readonly #store: RecordStore;
  readonly #types: TypeSource;
  readonly #limits: Limits;
  readonly #requests: RecordRequests;
  readonly #writer: RecordWriter;
  readonly #typeUrl: string;
  readonly #watchPoint: WatchPoint;
  readonly #reads: RecordReads;
  readonly #queries: RecordQueries;
  /** The type under the snapshot that was in force at the last call. */
  #type: CollectionType | undefined;
  /** How records were written at the last write. */
  #target: (WriteTarget & { readonly derivedFor: Collection }) | undefined;

  constructor(options: RecordCollectionOptions) {
    const { state, store, types, limits, locks, clock, watches, onExpiry } = options;
    const requests = new RecordRequests(limits, clock);
    this.#state = state;
    this.#store = store;
    this.#types = types;
    this.#limits = limits;
    this.#requests = requests;
    this.#typeUrl = typeUrlOf(typeNameOf(state.definition));
    // Records of the server itself are written by their owners, past the writer.
    const isTapped = state.definition.namespace !== systemNamespace;
    this.#watchPoint = new WatchPoint({ watches, store, isTapped });
    this.#reads = new RecordReads({
      store,
      limits,
      typeUrl: this.#typeUrl,
      definition: () => this.definition,
    });
    this.#queries = new RecordQueries({
      store,
      limits,
      typeUrl: this.#typeUrl,
      definition: () => this.definition,
      desc: () => this.type().desc,
      textsOf: (data) => this.#textsOf(data),
    });
    this.#writer = new RecordWriter({
      store,
      tap: this.#watchPoint,
      locks,
      onExpiry,
      target: () => this.target(),
      isCurrent: (target) => target === this.#target && this.#isCurrent(this.#target),
      merge: (write, stored, target) => requests.merge(write, stored, target),
      whole: (write, target) => requests.whole(write, target),
    });
  }

  /** The definition in force; not to be changed. */
  get definition(): Collection {
    return this.#state.definition;
  }

  /** @throws {CollectorError} TYPE_NOT_REGISTERED */
  type(): CollectionType {
    const snapshot = this.#types.snapshot(this.definition.namespace);
    if (this.#type?.snapshot === snapshot) return this.#type;
    const typeName = typeNameOf(this.definition);
    const desc = snapshot.types.getMessage(typeName);
    if (desc === undefined) throw missingType(this.definition, typeName);
    this.#type = { desc, snapshot };
    return this.#type;
  }

  /** How records are written now. @throws {CollectorError} TYPE_NOT_REGISTERED */
  async target(): Promise<WriteTarget> {
    const shape = await this.#store.shape();
    const known = this.#target;
    if (known?.plan.shape.version === shape.version && this.#isCurrent(known)) return known;
    const type = this.type();
    const { derivedFor } = this.#state;
    const plan = new DerivePlan({
      desc: type.desc,
      types: type.snapshot.types,
      shape,
      limits: this.#limits,
      vectorPaths: vectorPathsOf(derivedFor),
      expiry: expirySourceOf(derivedFor),
    });
    this.#target = { type, plan, derivedFor };
    return this.#target;
  }

  /** Deletes those of the records whose time has come. */
  async expire(ids: readonly string[]): Promise<void> {
    this.#beforeRead();
    await this.#writer.expire(ids);
  }

  /**
   * Adds a record.
   *
   * @throws {CollectorError} RECORD_EXISTS, ID_INVALID, LABEL_INVALID, ARGUMENT_MISSING,
   * ITEM_TYPE_MISMATCH, TYPE_NOT_REGISTERED, ITEM_UNPARSABLE, REQUEST_ID_REUSED, SYSTEM_READ_ONLY
   */
  async create(request: CreateRecord, options: CallOptions = {}): Promise<CreatedRecord> {
    this.#beforeWrite(options);
    const once = writeRequest(request.requestId, () => createParts(request));
    return this.#shaped(async (target) => {
      const write = this.#requests.create(request, target);
      if (request.validateOnly) {
        await this.#rehearse([write]);
        return { id: request.id };
      }
      const outcome = await this.#single(write, once, options);
      return { id: outcome.id, meta: recordMeta(outcome) };
    });
  }

  /** @throws {CollectorError} RECORD_NOT_FOUND, ID_INVALID, ARGUMENT_MISSING */
  async get(id: string): Promise<FoundRecord> {
    this.#beforeRead();
    return this.#reads.get(id);
  }

  /** One result per id, see {@link RecordReads.getMany}. */
  async getMany(ids: readonly string[], options: CallOptions = {}): Promise<RecordResult[]> {
    this.#beforeRead();
    return this.#reads.getMany(ids, options);
  }

  /** `id` or `ids`, whichever the request has. @throws {CollectorError} ARGUMENT_INVALID for both */
  async read(
    request: Pick<GetRequest, "id" | "ids">,
    options: CallOptions = {},
  ): Promise<FoundRecord | { records: RecordResult[] }> {
    this.#beforeRead();
    return this.#reads.read(request, options);
  }

  /**
   * Replaces a record, or the fields of it that a mask names, or its labels.
   *
   * @throws {CollectorError} RECORD_NOT_FOUND, VERSION_MISMATCH, FIELD_UNKNOWN, MESSAGE_TOO_LARGE,
   * and what {@link create} throws but RECORD_EXISTS
   */
  async update(request: UpdateRecord, options: CallOptions = {}): Promise<UpdatedRecord> {
    this.#beforeWrite(options);
    const once = writeRequest(request.requestId, () => updateParts(request));
    return this.#shaped(async (target) => {
      const write = this.#requests.update(request, target);
      if (request.validateOnly) {
        await this.#rehearse([write]);
        return { created: false };
      }
      const outcome = await this.#single(write, once, options);
      return { meta: recordMeta(outcome), created: outcome.change === "created" };
    });
  }

  /** @throws {CollectorError} RECORD_NOT_FOUND, VERSION_MISMATCH, REQUEST_ID_REUSED, SYSTEM_READ_ONLY */
  async delete(request: DeleteRecord, options: CallOptions = {}): Promise<DeletedRecord> {
    this.#beforeWrite(options);
    const write = this.#requests.delete(request);
    const once = writeRequest(request.requestId, () => deleteParts(request));
    if (request.validateOnly) {
      await this.#rehearse([write]);
      return {};
    }
    const outcome = await this.#single(write, once, options);
    return outcome.change === "none" ? {} : { meta: recordMeta(outcome) };
  }

  /**
   * Applies operations in order, all or none, each seeing the ones before.
   *
   * @throws {CollectorError} BATCH_INVALID, or what the first operation that fails throws, with the
   * operation in its violations, as in `operations[3].create.id`
   */
  async batch(
    request: Pick<BatchRequest, "operations" | "requestId" | "validateOnly">,
    options: CallOptions = {},
  ): Promise<ResponseOp[]> {
    this.#beforeWrite(options);
    const { operations } = request;
    return this.#shaped(async (target) => {
      const batch = checkBatch(operations, this.#batchScope(target));
      const once = writeRequest(request.requestId, () => batchParts(operations));
      if (request.validateOnly) {
        await this.#rehearse(batch, operations);
        return responseOps(operations, undefined);
      }
      try {
        const { outcomes } = await this.#writer.batch(batch, once);
        return responseOps(operations, outcomes);
      } catch (error) {
        throw aboutRecord(error, this.definition, operations);
      }
    });
  }

  /**
   * Records that match, in the order of their creation or another, page by page.
   *
   * @throws {CollectorError} PAGE_SIZE_INVALID, PAGE_TOKEN_INVALID, QUERY_INVALID, FIELD_UNKNOWN,
   * QUERY_TIMEOUT
   */
  async list(request: ListRecords, options: CallOptions = {}): Promise<ListedRecords> {
    this.#beforeRead();
    return this.#queries.list(request, this.#reading(options));
  }

  /** The records that match best. @throws {CollectorError} QUERY_INVALID, FIELD_UNKNOWN, QUERY_TIMEOUT */
  async search(request: SearchRecords, options: CallOptions = {}): Promise<FoundRecords> {
    this.#beforeRead();
    return this.#queries.search(request, this.#reading(options));
  }

  /**
   * Tells what changes, see {@link watchRecords}.
   *
   * @throws {CollectorError} at once, QUERY_INVALID, FIELD_UNKNOWN
   */
  watch(
    request: Pick<WatchRequest, "where" | "resumeToken" | "idsOnly">,
    { signal }: { readonly signal: AbortSignal },
  ): AsyncIterable<WatchResponse> {
    this.#beforeRead();
    return watchRecords(request, {
      point: this.#watchPoint,
      definition: this.definition,
      typeUrl: this.#typeUrl,
      condition: parseWhere(request.where, this.type().desc, this.#limits),
      batchBytesMax: Math.floor(this.#limits.messageBytesMax / 4),
      signal,
    });
  }

  /**
   * Sends all records as they are at one moment, see {@link exportRecords}.
   *
   * @throws {CollectorError} while it is read, also QUERY_INVALID and FIELD_UNKNOWN
   */
  async *export(
    request: Pick<ExportRequest, "where">,
    { signal, filesUri }: Pick<ExportScope, "signal" | "filesUri">,
  ): AsyncGenerator<ExportResponse> {
    this.#beforeRead();
    const condition = parseWhere(request.where, this.type().desc, this.#limits);
    const matches = condition.kind === "always" ? undefined : await this.#matcher(condition);
    const definition = this.definition;
    yield* exportRecords({ store: this.#store, definition, matches, filesUri, signal });
  }

  /** Ends all watches, as the collection is deleted or replaced. */
  endWatches(reason: CollectorError = deletedCollection(this.definition)): void {
    this.#watchPoint.end(reason);
  }

  async stats(): Promise<StoreStats> {
    this.#beforeRead();
    return this.#store.stats();
  }

  /** Writes by `write`, and does so anew if what is derived from records changes meanwhile. */
  async #shaped<T>(write: (target: WriteTarget) => Promise<T>): Promise<T> {
    for (let attempt = 1; ; attempt += 1) {
      const target = await this.target();
      try {
        return await write(target);
      } catch (error) {
        const isOutdated = error instanceof CollectorError && error.reason === "SHAPE_OUTDATED";
        if (!isOutdated || attempt === shapeAttemptsMax) throw error;
      }
    }
  }

  /** Whether type and definition are what they were then; the store looks at the shape itself. */
  #isCurrent({ type, derivedFor }: { type: CollectionType; derivedFor: Collection }): boolean {
    return derivedFor === this.#state.derivedFor && type === this.type();
  }

  async #single(
    write: RecordWrite,
    request: Write["request"],
    { signal }: CallOptions,
  ): Promise<StepOutcome> {
    try {
      if (write.kind === "masked") return await this.#writer.masked(write, request, signal);
      const [outcome] = (await this.#writer.plain(write, request)).outcomes;
      if (outcome === undefined) throw new Error("a write has no outcome");
      return outcome;
    } catch (error) {
      throw aboutRecord(error, this.definition);
    }
  }

  #beforeRead(): void {
    if (this.#state.isDeleted) throw deletedCollection(this.definition);
  }

  #beforeWrite({ signal }: CallOptions): void {
    this.#beforeRead();
    refuseSystemWrite(this.definition.namespace);
    signal?.throwIfAborted();
  }

  /** Says of stored records whether a condition holds. */
  async #matcher(condition: Condition): Promise<(record: StoredRecord) => boolean> {
    const { plan } = await this.target();
    const predicate = compileCondition(condition);
    const given = { writtenUs: 0n, keepsVectors: true, isLenient: true };
    return (record) => {
      const { document } = plan.derive(record.data, given);
      return predicate(new EvaluatedRecord({ ...record, document }));
    };
  }

  /** The texts that a message is found by now, also while others are being built. */
  async #textsOf(data: Uint8Array): Promise<readonly string[]> {
    const { plan } = await this.target();
    const serving = plan.shape.texts.findIndex(({ state }) => state === "ready");
    const given = { writtenUs: 0n, keepsVectors: true, isLenient: true };
    return plan.derive(data, given).texts[serving] ?? [];
  }

  #reading({ signal }: CallOptions): ReadOptions {
    return { signal, budgetMs: this.#limits.queryBudgetMs };
  }

  #batchScope(target: WriteTarget): BatchScope {
    const { namespace, name } = this.definition;
    return {
      namespace,
      name,
      target,
      requests: this.#requests,
      operationsMax: this.#limits.batchOperationsMax,
    };
  }

  async #rehearse(
    writes: readonly RecordWrite[],
    operations?: BatchRequest["operations"],
  ): Promise<void> {
    const ids = [...new Set(writes.map(({ id }) => id))];
    const found = await this.#store.get(ids);
    try {
      rehearse(writes, new Map(ids.map((id, index) => [id, found[index]])));
    } catch (error) {
      throw aboutRecord(error, this.definition, operations);
    }
  }
}

export function typeNameOf(definition: Collection): string {
  return definition.messageType?.messageName ?? "";
}
