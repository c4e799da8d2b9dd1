/**
 * What `collector/client` exports. Passed on by import and export, one by one, as the import rules are blind to
 * `export … from`.
 */
import type { ArchiveInput } from "./archive-content.ts";
import type { DownloadedArchive } from "./archive-receiver.ts";
import type {
  ArchiveOutput,
  ArchiveSource,
  UploadedArchive,
  UploadOptions,
  VerifiedArchive,
} from "./archive-transfer.ts";
import type {
  BackupOptions,
  Backups,
  ListBackupsOptions,
  PolicyRunOptions,
  RestoreOptions,
  ServerBackupOptions,
  ServerRestoreOptions,
} from "./backups.ts";
import type { BatchWrite } from "./batch.ts";
import { Client, type ConnectOptions, connect, defaultUrl } from "./client.ts";
import { ClientError, type ClientErrorOptions, type ClientErrorReason } from "./client-error.ts";
import type {
  CallLimits,
  CreateOptions,
  JsonCollection,
  ListOptions,
  RecordChange,
  RecordCollection,
  RecordInfo,
  SearchHit,
  SearchOptions,
  TypedCollection,
  TypedRecord,
  WriteOptions,
} from "./collection.ts";
import type { CloneOptions, CopyOptions } from "./copies.ts";
import type {
  AttachedFile,
  CollectionFiles,
  FileContent,
  FileOptions,
  FileSource,
  GetFileOptions,
  ListFilesOptions,
  PutFileOptions,
} from "./files.ts";
import type { LongCallOptions, LongCallProgress } from "./long-call.ts";
import type { LinkOptions, Mesh, NewLink } from "./mesh.ts";
import type { RegisteredFileResult } from "./register.ts";
import type { Services } from "./services.ts";
import type { WatchOptions } from "./watch.ts";
import type {
  Comparison,
  ElementComparison,
  JsonWhere,
  KeyComparison,
  TextComparison,
  Where,
} from "./where.ts";
import type { AttachOptions, Worker, WorkerState } from "./worker.ts";
import type {
  AnswerMetadata,
  WorkerCall,
  WorkerHandler,
  WorkerHandlers,
  WorkerMetadata,
} from "./worker-handlers.ts";

export {
  type AnswerMetadata,
  type ArchiveInput,
  type ArchiveOutput,
  type ArchiveSource,
  type AttachedFile,
  type AttachOptions,
  type BackupOptions,
  type Backups,
  type BatchWrite,
  type CallLimits,
  Client,
  ClientError,
  type ClientErrorOptions,
  type ClientErrorReason,
  type CloneOptions,
  type CollectionFiles,
  type Comparison,
  type ConnectOptions,
  type CopyOptions,
  type CreateOptions,
  connect,
  type DownloadedArchive,
  defaultUrl,
  type ElementComparison,
  type FileContent,
  type FileOptions,
  type FileSource,
  type GetFileOptions,
  type JsonCollection,
  type JsonWhere,
  type KeyComparison,
  type LinkOptions,
  type ListBackupsOptions,
  type ListFilesOptions,
  type ListOptions,
  type LongCallOptions,
  type LongCallProgress,
  type Mesh,
  type NewLink,
  type PolicyRunOptions,
  type PutFileOptions,
  type RecordChange,
  type RecordCollection,
  type RecordInfo,
  type RegisteredFileResult,
  type RestoreOptions,
  type SearchHit,
  type SearchOptions,
  type ServerBackupOptions,
  type ServerRestoreOptions,
  type Services,
  type TextComparison,
  type TypedCollection,
  type TypedRecord,
  type UploadedArchive,
  type UploadOptions,
  type VerifiedArchive,
  type WatchOptions,
  type Where,
  type Worker,
  type WorkerCall,
  type WorkerHandler,
  type WorkerHandlers,
  type WorkerMetadata,
  type WorkerState,
  type WriteOptions,
};
