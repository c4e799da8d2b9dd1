import type { Collection } from "../gen/collector/collection_pb.ts";
import {
  type DescribeResponse,
  type FieldInfo,
  type IndexInfo,
  IndexInfo_State,
} from "../gen/collector/collection_server_pb.ts";
import type { IndexState } from "../storage/store-layout.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import { describeFields } from "./field-paths.ts";
import { isSearched } from "./text-definition.ts";

/** What a collection is: definition, fields of its type, indexes, exact count and size. */
export async function describeCollection(
  entry: CatalogEntry,
  definition: Collection,
): Promise<Omit<DescribeResponse, "status">> {
  const { desc, snapshot } = entry.records.type();
  const [stats, files] = await Promise.all([entry.records.stats(), entry.store.files.stats()]);
  const indexed = new Set(definition.indexedFields);
  return {
    $typeName: "collector.DescribeResponse",
    collectionDefinition: definition,
    recordCount: stats.recordCount,
    storageSizeBytes: stats.sizeBytes,
    fields: describeFields(desc).map(
      (field): FieldInfo => ({
        $typeName: "collector.FieldInfo",
        ...field,
        fullText: field.fullText && isSearched(field.path, definition),
        indexed: indexed.has(field.path),
      }),
    ),
    indexes: stats.indexes.map(toIndexInfo),
    revision: stats.revision,
    typeVersion: snapshot.typeVersion(desc.typeName),
    fileCount: files.count,
    fileBytes: files.bytes,
  };
}

function toIndexInfo({ path, state }: IndexState): IndexInfo {
  return {
    $typeName: "collector.IndexInfo",
    field: path,
    state: state === "ready" ? IndexInfo_State.READY : IndexInfo_State.BUILDING,
  };
}
