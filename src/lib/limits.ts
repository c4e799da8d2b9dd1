/** The limits in force. Every refusal names the limit and the value seen. See docs/operations.md. */
export interface Limits {
  /** Largest message, in and out, after decompression. */
  readonly messageBytesMax: number;
  /** Largest header list of a request. */
  readonly headerBytesMax: number;
  readonly streamsPerConnectionMax: number;
  readonly connectionsPerAddressMax: number;
  readonly connectionsMax: number;
  /** Deadline of a unary call whose caller sets none. */
  readonly deadlineDefaultMs: number;
  /** Longest deadline a caller may set on a unary call. */
  readonly deadlineMaxMs: number;
  /** How long a peer that owes bytes may send none. */
  readonly streamIdleMs: number;
  /** How long calls in flight may go on after SIGTERM. */
  readonly drainMs: number;
  /** What may wait in memory per stream for a slow reader. */
  readonly streamBufferBytesMax: number;
  /** What may wait in memory, received and not yet consumed, per process. */
  readonly receiveBufferBytesMax: number;
  /** Longest record id, in UTF-8 bytes. */
  readonly recordIdBytesMax: number;
  readonly batchOperationsMax: number;
  readonly pageSizeDefault: number;
  readonly pageSizeMax: number;
  readonly labelsMax: number;
  readonly labelKeyBytesMax: number;
  readonly labelValueBytesMax: number;
  readonly indexedFieldsMax: number;
  /** What of a record's text is searchable, in UTF-16 code units; the rest is left out. */
  readonly recordTextCharsMax: number;
  readonly fullTextBytesMax: number;
  readonly fullTextTermsMax: number;
  /** Terms of a search text that only begin a word. */
  readonly fullTextPrefixesMax: number;
  /** Longest filter text, and longest value in a filter, in UTF-16 code units. */
  readonly filterCharsMax: number;
  /** Comparisons of a filter; each value of a list counts as one. */
  readonly filterTermsMax: number;
  /** Nesting of parentheses in a filter or a search text. */
  readonly filterDepthMax: number;
  readonly orderKeysMax: number;
  /** One query's run time. */
  readonly queryBudgetMs: number;
  /** Descriptors in one registration call. */
  readonly descriptorBytesMax: number;
  readonly typesPerNamespaceMax: number;
  readonly fieldsPerNamespaceMax: number;
  readonly descriptorNestingMax: number;
  readonly jsonDepthMax: number;
  /** gRPC servers that may run one service. */
  readonly endpointsPerServiceMax: number;
  /** How often an endpoint that is in use is asked whether it is healthy. */
  readonly endpointCheckMs: number;
  /** Largest attached file. */
  readonly fileBytesMax: number;
  /** Largest chunk of an upload. */
  readonly fileChunkBytesMax: number;
  /** What all attached files of a namespace may have in sum, uploads under way included. */
  readonly filesPerNamespaceBytesMax: number;
  /** Uploads and downloads of files that may run at a time; each holds a file handle. */
  readonly fileTransfersMax: number;
  /** Free disk space below which writes are refused. */
  readonly diskReserveBytes: number;
  /** Writes of one collection that may wait for the disk. */
  readonly writeQueueMax: number;
  /** How long a request id is remembered. */
  readonly requestIdTtlMs: number;
  /** Tombstones kept per collection. */
  readonly tombstonesMax: number;
  /** Watches that may run at a time. */
  readonly watchesMax: number;
  /** Changes that may wait for the reader of a watch; one that is further behind reads the history. */
  readonly watchQueueChangesMax: number;
  /** The same in bytes. */
  readonly watchQueueBytesMax: number;
  /** What may wait for all readers of watches together. */
  readonly watchQueuesBytesMax: number;
  /** After so long without changes, a watch is sent a fresh token. */
  readonly watchHeartbeatMs: number;
  /** Collections kept open for point reads. */
  readonly openStoresMax: number;
  /** Processes that run lists and searches. */
  readonly readersMax: number;
  /** Lists and searches that may wait for one of them. */
  readonly readQueueMax: number;
  /** Scans of whole collections that may run at a time, each in a process of its own. */
  readonly exportsMax: number;
  /** Backups, restores and copies that may work at a time; more wait. */
  readonly copiesMax: number;
  /** Transfers of archives that may be under way or wait for their sender or receiver. */
  readonly transfersMax: number;
  /** How long a transfer that was cut can be gone on with. */
  readonly transferIdleMs: number;
  /** Largest archive that is taken in. */
  readonly archiveBytesMax: number;
  readonly policiesMax: number;
  /** Runs of backup policies that may work at a time; more wait. */
  readonly policyRunsMax: number;
  /** Connections to one endpoint that is dialled; more are opened as streams run out. */
  readonly peerConnectionsMax: number;
  /** Calls to one endpoint that may wait for a connection or a stream. */
  readonly peerQueueMax: number;
  /** How long it may take to connect to another server. */
  readonly peerConnectMs: number;
  /** After so long without calls, a connection to another server is closed. */
  readonly peerIdleMs: number;
  /** After so long without a sign of life during a call, the other server is asked for one. */
  readonly peerKeepAliveMs: number;
  /** Collectors that this one may be linked to. */
  readonly meshPeersMax: number;
  /** Links that a call may travel. */
  readonly meshHopsMax: number;
  /** Dispatched calls that are kept in collection `dispatches`; the oldest go. */
  readonly dispatchesKeptMax: number;
  /** Dispatched calls that are recorded each second; of more, a sample. */
  readonly dispatchesPerSecondMax: number;
  /** How often the other end of a link is asked whether it is there. */
  readonly linkPingMs: number;
  /** After so long without an answer a link is down. */
  readonly linkTimeoutMs: number;
  /** How long a collector that is to be linked may take to answer, connecting included. */
  readonly linkHandshakeMs: number;
  /** Longest pause before a link that is down is tried again. */
  readonly linkRetryMaxMs: number;
  /** Calls that may run over the stream of a link at a time, and as many that wait. */
  readonly linkCallsMax: number;
  /** Workers that may be attached at a time. */
  readonly workersMax: number;
  /** How long a client that opens Attach may take to say hello. */
  readonly workerHelloMs: number;
  /** Services that one worker may run. */
  readonly workerServicesMax: number;
  /** Calls that one worker may be given at a time; a larger wish is coerced to it. */
  readonly workerCallsMax: number;
  /** Calls that may wait for a worker that has as many as it takes. */
  readonly workerWaitingMax: number;
  /** How often a worker is asked for a sign of life; after three times as long it is dead. */
  readonly workerPingMs: number;
}

/** The default of each limit; the configuration may set them under `limits`. */
export const defaultLimits: Limits = {
  messageBytesMax: 4 * 1024 * 1024,
  headerBytesMax: 16 * 1024,
  streamsPerConnectionMax: 128,
  connectionsPerAddressMax: 64,
  connectionsMax: 1000,
  deadlineDefaultMs: 30_000,
  deadlineMaxMs: 300_000,
  streamIdleMs: 60_000,
  drainMs: 30_000,
  streamBufferBytesMax: 1024 * 1024,
  receiveBufferBytesMax: 256 * 1024 * 1024,
  recordIdBytesMax: 256,
  batchOperationsMax: 1000,
  pageSizeDefault: 100,
  pageSizeMax: 1000,
  labelsMax: 64,
  labelKeyBytesMax: 128,
  labelValueBytesMax: 1024,
  indexedFieldsMax: 32,
  recordTextCharsMax: 1024 * 1024,
  fullTextBytesMax: 512,
  fullTextTermsMax: 16,
  fullTextPrefixesMax: 4,
  filterCharsMax: 3500,
  filterTermsMax: 200,
  filterDepthMax: 32,
  orderKeysMax: 8,
  queryBudgetMs: 2000,
  descriptorBytesMax: 512 * 1024,
  typesPerNamespaceMax: 5000,
  fieldsPerNamespaceMax: 20_000,
  descriptorNestingMax: 32,
  jsonDepthMax: 64,
  endpointsPerServiceMax: 64,
  endpointCheckMs: 5000,
  fileBytesMax: 1024 * 1024 * 1024,
  fileChunkBytesMax: 1024 * 1024,
  filesPerNamespaceBytesMax: 10 * 1024 * 1024 * 1024,
  fileTransfersMax: 256,
  diskReserveBytes: 64 * 1024 * 1024,
  writeQueueMax: 10_000,
  requestIdTtlMs: 24 * 3600 * 1000,
  tombstonesMax: 100_000,
  watchesMax: 10_000,
  watchQueueChangesMax: 1000,
  watchQueueBytesMax: 1024 * 1024,
  watchQueuesBytesMax: 64 * 1024 * 1024,
  watchHeartbeatMs: 30_000,
  openStoresMax: 256,
  readersMax: 2,
  readQueueMax: 1000,
  exportsMax: 4,
  copiesMax: 4,
  transfersMax: 16,
  transferIdleMs: 600_000,
  archiveBytesMax: 1024 * 1024 * 1024 * 1024,
  policiesMax: 1000,
  policyRunsMax: 2,
  peerConnectionsMax: 4,
  peerQueueMax: 1000,
  peerConnectMs: 10_000,
  peerIdleMs: 300_000,
  peerKeepAliveMs: 30_000,
  meshPeersMax: 64,
  meshHopsMax: 4,
  dispatchesKeptMax: 10_000,
  dispatchesPerSecondMax: 100,
  linkPingMs: 5000,
  linkTimeoutMs: 10_000,
  linkHandshakeMs: 10_000,
  linkRetryMaxMs: 10_000,
  linkCallsMax: 1000,
  workersMax: 1000,
  workerHelloMs: 10_000,
  workerServicesMax: 100,
  workerCallsMax: 1000,
  workerWaitingMax: 1000,
  workerPingMs: 3000,
};
