import type { Collection, CollectionRecord } from "../gen/collector/collection_pb.ts";
import type { ExportResponse } from "../gen/collector/record_streams_pb.ts";
import type { RecordStore } from "../storage/record-store.ts";
import type { StoredRecord } from "../storage/stored-record.ts";
import { timestampOfUs } from "./record-answers.ts";
import { encodeResumeToken } from "./watch/resume-token.ts";

export interface ExportScope {
  readonly store: RecordStore;
  /** As it is answered. */
  readonly definition: Collection;
  /** Which records to send; undefined for all. */
  readonly matches: ((record: StoredRecord) => boolean) | undefined;
  /** Where to read the files of a record. */
  readonly filesUri: (recordId: string) => string;
  readonly signal: AbortSignal;
}

/**
 * Sends all records as they are at one moment, in order of creation, in messages of some hundred KiB.
 * What has been read and not been taken is one message; the moment is let go when this ends or is
 * given up.
 *
 * @throws {CollectorError} while it is read: OVERLOADED if too many exports run, CANCELLED,
 * STORAGE_UNAVAILABLE
 */
export async function* exportRecords(scope: ExportScope): AsyncGenerator<ExportResponse> {
  const { store, definition, matches, signal } = scope;
  const { count: fileCount } = await store.files.stats();
  await using scan = await store.scan({ signal });
  yield {
    $typeName: "collector.ExportResponse",
    collection: definition,
    recordCount: scan.recordCount,
    resumeToken: encodeResumeToken(definition.collectionId, scan),
    records: [],
  };
  for (let records = await scan.next(); records !== undefined; records = await scan.next()) {
    signal.throwIfAborted();
    const wanted = matches === undefined ? records : records.filter(matches);
    if (wanted.length === 0) continue;
    const withFiles = fileCount === 0n ? noRecords : await ownersOf(store, wanted);
    yield {
      $typeName: "collector.ExportResponse",
      recordCount: 0n,
      resumeToken: "",
      records: wanted.map((record) =>
        exported(record, withFiles.has(record.id) ? scope.filesUri(record.id) : ""),
      ),
    };
  }
}

const noRecords: ReadonlySet<string> = new Set();

/** Which of the records have files now; the files are not of the export's moment. */
async function ownersOf(
  { files }: RecordStore,
  records: readonly StoredRecord[],
): Promise<ReadonlySet<string>> {
  const owners = new Set<string>();
  for (const { id } of records) {
    const page = await files.list({ owner: id, prefix: "", after: undefined, limit: 1 });
    if (page.files.length > 0) owners.add(id);
  }
  return owners;
}

function exported(record: StoredRecord, dataUri: string): CollectionRecord {
  const { id, version, createdUs, updatedUs, labels, data } = record;
  return {
    $typeName: "collector.CollectionRecord",
    id,
    protoData: data,
    dataUri,
    metadata: {
      $typeName: "collector.Metadata",
      createdAt: timestampOfUs(createdUs),
      updatedAt: timestampOfUs(updatedUs),
      labels: { ...labels },
    },
    version: String(version),
  };
}
