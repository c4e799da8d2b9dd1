import { CollectorError, invalidField } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { GetRequest, RecordResult } from "../gen/collector/collection_server_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { ReadOptions } from "../storage/record-query.ts";
import type { RecordStore } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import { checkRecordId } from "./names.ts";
import { anyOf, type FoundRecord, recordMeta } from "./record-answers.ts";
import { missingRecord } from "./record-failures.ts";

export interface RecordReadsOptions {
  readonly store: RecordStore;
  readonly limits: Limits;
  readonly typeUrl: string;
  /** The definition in force. */
  readonly definition: () => Collection;
}

/** Ids that one Get reads before it looks at the size of the answer. */
const readTogetherMax = 32;

/** Reads records of one collection by their ids. */
export class RecordReads {
  readonly #options: RecordReadsOptions;

  constructor(options: RecordReadsOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} RECORD_NOT_FOUND, ID_INVALID, ARGUMENT_MISSING */
  async get(id: string): Promise<FoundRecord> {
    if (id === "") {
      throw invalidField("ARGUMENT_MISSING", "id", "names no record; send it or several in ids");
    }
    checkRecordId(id, this.#options.limits);
    const [record] = await this.#options.store.get([id]);
    if (record === undefined) throw missingRecord(this.#options.definition(), id);
    return { item: anyOf(this.#options.typeUrl, record.data), meta: recordMeta(record) };
  }

  /**
   * Reads records by their ids: one result each, in their order.
   *
   * @throws {CollectorError} ARGUMENT_INVALID for more ids than a page may hold, ID_INVALID and
   * ARGUMENT_MISSING about one of them, MESSAGE_TOO_LARGE if together they do not fit in an answer.
   */
  async getMany(
    ids: readonly string[],
    options: Pick<ReadOptions, "signal">,
  ): Promise<RecordResult[]> {
    const { pageSizeMax, messageBytesMax } = this.#options.limits;
    if (ids.length > pageSizeMax) {
      throw invalidField(
        "ARGUMENT_INVALID",
        "ids",
        `has ${ids.length} ids, the limit is ${pageSizeMax}`,
      );
    }
    for (const [index, id] of ids.entries())
      checkRecordId(id, this.#options.limits, `ids[${index}]`);
    const results: RecordResult[] = [];
    let bytes = 0;
    for (let start = 0; start < ids.length; start += readTogetherMax) {
      options.signal?.throwIfAborted();
      const part = ids.slice(start, start + readTogetherMax);
      const records = await this.#options.store.get(part);
      for (const [index, record] of records.entries()) {
        bytes += record?.data.byteLength ?? 0;
        results.push(this.#result(part[index] ?? "", record));
      }
      if (bytes > messageBytesMax) {
        throw new CollectorError(
          "MESSAGE_TOO_LARGE",
          `the first ${results.length} of the ${ids.length} records have ${bytes} bytes, an answer can have ${messageBytesMax}; ask for fewer at once`,
        );
      }
    }
    return results;
  }

  /** `id` or `ids`, whichever the request has. @throws {CollectorError} ARGUMENT_INVALID for both */
  async read(
    request: Pick<GetRequest, "id" | "ids">,
    options: Pick<ReadOptions, "signal">,
  ): Promise<FoundRecord | { records: RecordResult[] }> {
    if (request.ids.length === 0) return this.get(request.id);
    if (request.id !== "") {
      throw invalidField("ARGUMENT_INVALID", "ids", "cannot be sent together with id");
    }
    return { records: await this.getMany(request.ids, options) };
  }

  #result(id: string, record: StoredRecord | undefined): RecordResult {
    if (record === undefined) return { $typeName: "collector.RecordResult", id, found: false };
    return {
      $typeName: "collector.RecordResult",
      id,
      found: true,
      item: anyOf(this.#options.typeUrl, record.data),
      meta: recordMeta(record),
    };
  }
}
