import type { OpenHarness } from "./engine-harness.ts";
import { describeRecordStoreDeltas } from "./record-store-deltas.ts";
import { describeRecordStoreExpiry } from "./record-store-expiry.ts";
import { describeFileReplacement } from "./record-store-file-replacement.ts";
import { describeRecordStoreIndexes } from "./record-store-indexes.ts";
import { describeRecordStoreModel } from "./record-store-model.ts";
import { describeRecordStoreQueries } from "./record-store-queries.ts";
import { describeRecordStoreReads } from "./record-store-reads.ts";
import { describeRecordStoreShapes } from "./record-store-shapes.ts";
import { describeRecordStoreText } from "./record-store-text.ts";
import { describeRecordStoreVectors } from "./record-store-vectors.ts";
import { describeRecordStoreWrites } from "./record-store-writes.ts";
import { describeStorageEngine } from "./storage-engine-contract.ts";

/** What every engine must do, the SQLite engine and whichever comes after it. */
export function describeRecordStore(engineName: string, open: OpenHarness): void {
  describeRecordStoreWrites(engineName, open);
  describeRecordStoreReads(engineName, open);
  describeRecordStoreQueries(engineName, open);
  describeRecordStoreText(engineName, open);
  describeRecordStoreExpiry(engineName, open);
  describeRecordStoreShapes(engineName, open);
  describeRecordStoreIndexes(engineName, open);
  describeRecordStoreVectors(engineName, open);
  describeRecordStoreDeltas(engineName, open);
  describeFileReplacement(engineName, open);
  describeStorageEngine(engineName, open);
  describeRecordStoreModel(engineName, open);
}
