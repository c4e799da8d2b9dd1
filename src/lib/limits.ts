/**
 * The default limits, in one place. Each can be set in the configuration under `limits`; each
 * refusal names the limit and the value seen. See docs/operations.md.
 */
export const defaultLimits = {
  /** Largest message, in and out, after decompression. */
  messageBytesMax: 4 * 1024 * 1024,
  /** Largest header list of a request. */
  headerBytesMax: 16 * 1024,
  streamsPerConnectionMax: 128,
  connectionsPerAddressMax: 64,
  connectionsMax: 1000,
  /** Deadline of a unary call whose caller sets none. */
  deadlineDefaultMs: 30_000,
  /** Longest deadline a caller may set on a unary call. */
  deadlineMaxMs: 300_000,
  /** How long a peer that owes bytes may send none. */
  streamIdleMs: 60_000,
  /** How long calls in flight may go on after SIGTERM. */
  drainMs: 30_000,
  /** What may wait in memory per stream for a slow reader. */
  streamBufferBytesMax: 1024 * 1024,
  /** What may wait in memory, received and not yet consumed, per process. */
  receiveBufferBytesMax: 256 * 1024 * 1024,
  /** Longest record id, in UTF-8 bytes. */
  recordIdBytesMax: 256,
  batchOperationsMax: 1000,
  pageSizeDefault: 100,
  pageSizeMax: 1000,
  labelsMax: 64,
  labelKeyBytesMax: 128,
  labelValueBytesMax: 1024,
  indexedFieldsMax: 32,
  fullTextBytesMax: 512,
  fullTextTermsMax: 16,
  /** One query's run time. */
  queryBudgetMs: 2000,
  /** Descriptors in one registration call. */
  descriptorBytesMax: 512 * 1024,
  typesPerNamespaceMax: 5000,
  fieldsPerNamespaceMax: 20_000,
  descriptorNestingMax: 32,
  jsonDepthMax: 64,
  /** Free disk space below which writes are refused. */
  diskReserveBytes: 64 * 1024 * 1024,
  /** Writes of one collection that may wait for the disk. */
  writeQueueMax: 10_000,
  /** How long a request id is remembered. */
  requestIdTtlMs: 24 * 3600 * 1000,
  /** Tombstones kept per collection. */
  tombstonesMax: 100_000,
  /** Collections kept open for point reads. */
  openStoresMax: 256,
  /** Processes that run lists and searches. */
  readersMax: 2,
} as const;

/** The limits in force. */
export type Limits = { readonly [K in keyof typeof defaultLimits]: number };
