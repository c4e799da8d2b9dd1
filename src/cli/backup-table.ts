import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "../client/client.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
  Compression,
} from "../gen/collector/collection_repo_pb.ts";
import { type Column, count, formatBytes, type Output } from "./output.ts";

const columns: readonly Column<BackupMetadata>[] = [
  { header: "ID", text: ({ backupId }) => backupId },
  { header: "OF", text: subjectOf },
  { header: "TIME", text: timeOf },
  { header: "RECORDS", text: ({ recordCount }) => recordCount.toLocaleString("en"), right: true },
  { header: "FILES", text: ({ fileCount }) => fileCount.toLocaleString("en"), right: true },
  { header: "SIZE", text: ({ sizeBytes }) => formatBytes(sizeBytes), right: true },
  { header: "KIND", text: ({ baseBackupId }) => (baseBackupId === "" ? "full" : "incremental") },
  { header: "VERIFIED", text: verifiedOf },
];

/** Prints backups as a table, or as JSON. */
export async function printBackups(
  output: Output,
  client: Client,
  backups: readonly BackupMetadata[],
): Promise<void> {
  const rows = await Promise.all(
    backups.map(async (backup) => ({ backup, json: await client.toJson(backup) })),
  );
  const rowColumns = columns.map(({ text, ...column }) => ({
    ...column,
    text: ({ backup }: (typeof rows)[number]) => text(backup),
  }));
  output.list(rows, rowColumns, ({ json }) => json);
}

/** What is known of a backup, as names and values. */
export function backupFacts(backup: BackupMetadata): readonly (readonly [string, string])[] {
  const { baseBackupId, fullReason, setId, policy, metadata } = backup;
  return [
    ["Backup", backup.backupId],
    ["Of", subjectOf(backup)],
    ["Time", timeOf(backup)],
    ["Records", backup.recordCount.toLocaleString("en")],
    ["Files", backup.includesFiles ? backup.fileCount.toLocaleString("en") : "left out"],
    ["Size", `${formatBytes(backup.sizeBytes)}, of ${formatBytes(backup.contentBytes)}`],
    ["Compressed", backup.compression === Compression.ZSTD ? "zstd" : "no"],
    ["Encrypted", backup.encrypted ? "age" : "no"],
    ["Stored", backup.storagePath],
    ["SHA-256", backup.sha256],
    ["Verified", verifiedOf(backup) || "never"],
    ...facts([
      ["Based on", baseBackupId],
      ["Full because", fullReason],
      ["Set", setId],
      ["Policy", policy],
      ...Object.entries(metadata),
    ]),
  ];
}

/** As in `default/products: 2 records, 1 file, 34.6 kB`. */
export function backupSummary(backup: BackupMetadata): string {
  const { recordCount, fileCount, sizeBytes, baseBackupId } = backup;
  const parts = contents({ recordCount, fileCount, sizeBytes });
  return `${subjectOf(backup)}: ${parts}${baseBackupId === "" ? "" : ", incremental"}`;
}

/** As in `2 records, 1 file, 34.6 kB`. */
export function contents(of: {
  readonly recordCount: bigint;
  readonly fileCount: bigint;
  readonly sizeBytes?: bigint;
}): string {
  const { recordCount, fileCount, sizeBytes } = of;
  return [
    count(recordCount, "record"),
    ...(fileCount === 0n ? [] : [count(fileCount, "file")]),
    ...(sizeBytes === undefined ? [] : [formatBytes(sizeBytes)]),
  ].join(", ");
}

function subjectOf({ content, collection }: BackupMetadata): string {
  if (content === BackupMetadata_Content.REGISTRY) return "registry";
  return `${collection?.namespace ?? ""}/${collection?.name ?? ""}`;
}

function timeOf({ createTime, timestamp }: BackupMetadata): string {
  const date =
    createTime === undefined ? new Date(Number(timestamp) * 1000) : timestampDate(createTime);
  return date.toISOString().replace(/[.]\d+Z$/, "Z");
}

function verifiedOf({ verifyTime, verifyError }: BackupMetadata): string {
  if (verifyTime === undefined) return "";
  const time = timestampDate(verifyTime)
    .toISOString()
    .replace(/[.]\d+Z$/, "Z");
  return verifyError === "" ? time : `invalid: ${verifyError}`;
}

/** Only those that say something. */
function facts(
  all: readonly (readonly [string, string])[],
): readonly (readonly [string, string])[] {
  return all.filter(([, value]) => value !== "");
}
