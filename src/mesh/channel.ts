import type { ErrorReason } from "../errors.ts";

/**
 * Names and values in the order of the wire. Names are lower case; values of names that end in
 * `-bin` are base64, as on the wire.
 */
export type MetadataEntries = readonly (readonly [string, string])[];

export interface CallOptions {
  /** Entries that the protocol keeps for itself are left out. */
  readonly metadata?: Iterable<readonly [string, string]> | undefined;
  /** The namespace that `metadata` names, where that is known already. */
  readonly namespace?: string | undefined;
  /** When to give up, on the clock of `performance.now()`; undefined for never. */
  readonly deadlineMs?: number | undefined;
  /** Cancels the call, at both ends. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Instead of `signal`, where it says the same: has a function called with the reason once the call is to
   * be cancelled, at once if it is already. Costs less than a signal.
   */
  readonly onCancel?: ((cancel: (reason: Error) => void) => void) | undefined;
  /** Collectors that the call has passed, this one included. Told to linked collectors and nobody else. */
  readonly route?: readonly string[] | undefined;
}

/** The answer to one message, with status OK. */
export interface UnaryAnswer {
  /** A view that may pin a larger buffer: `slice()` what is kept. */
  readonly message: Uint8Array;
  readonly headers: MetadataEntries;
  readonly trailers: MetadataEntries;
}

/** How a call ended. Code 0 is OK, the others are gRPC's. */
export interface CallEnd {
  readonly code: number;
  readonly message: string;
  readonly trailers: MetadataEntries;
  /** What the messages fail with; undefined for OK. */
  readonly failure: CallFailure | undefined;
}

/** A message that is passed on as it came. */
export interface FramedMessage {
  readonly byteLength: number;
  /** Put together when they are asked for. */
  readonly bytes: Uint8Array;
  /** All of its frame of gRPC, not compressed, in pieces. */
  readonly parts: readonly Uint8Array[];
}

/** The answer of a call while it runs. */
export interface StreamAnswer<T = Uint8Array> {
  /** Never rejects; empty if the call ends before it is answered. */
  readonly headers: Promise<MetadataEntries>;
  /**
   * Iterated once. What is not asked for holds the peer back; leaving early cancels the call.
   *
   * @throws {CallFailure} where the call did not end with OK
   */
  readonly messages: AsyncIterableIterator<T, undefined>;
  /** Never rejects. It comes when the messages have been read, or with the failure. */
  readonly end: Promise<CallEnd>;
}

/**
 * `idle`: connects with the next call. `failing`: the last try to connect failed; calls in the next
 * moments fail at once, later ones try again. `closed`: for good.
 */
export type ChannelState = "idle" | "connecting" | "ready" | "failing" | "closed";

/** Calls another server: raw messages, all four kinds of methods. Connects by itself, and again. */
export interface Channel extends AsyncDisposable {
  /** Where to, as in `http://127.0.0.1:50051`. */
  readonly endpoint: string;
  readonly state: ChannelState;
  /**
   * One message for one message.
   *
   * @param path `/package.Service/Method`
   * @throws {CallFailure} for every status but OK
   */
  unary(path: string, message: Uint8Array, options?: CallOptions): Promise<UnaryAnswer>;
  /**
   * A call of any kind. Messages are taken from `messages` as the peer takes them.
   *
   * @param path `/package.Service/Method`
   */
  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: CallOptions,
  ): StreamAnswer;
  /** The same for messages that are only passed on, if the channel need not put them together for that. */
  streamFramed?(
    path: string,
    messages: AsyncIterable<FramedMessage> | Iterable<FramedMessage>,
    options?: CallOptions,
  ): StreamAnswer<FramedMessage>;
}

/** Makes channels to the servers that this one may dial. Who shares an endpoint shares connections. */
export interface Dialer {
  /**
   * A channel to an endpoint that a caller has named. Nothing is dialled yet: an address that may
   * not be dialled fails the first call, with PEER_DENIED as well. Disposing the channel lets calls
   * that it has in flight go on.
   *
   * @param endpoint `host:port`, or that behind `http://` or `https://`
   * @param field of the request that holds it
   * @throws {CollectorError} PEER_DENIED, with one text whatever is wrong
   */
  dial(endpoint: string, field: string): Channel;
  /** Whether it would be worth to try, and nothing more. @throws {CollectorError} as {@link dial} */
  check(endpoint: string, field: string): void;
}

export interface CallFailureOptions extends ErrorOptions {
  readonly code: number;
  readonly headers?: MetadataEntries;
  readonly trailers?: MetadataEntries;
  readonly reason?: ErrorReason | undefined;
  readonly mayHaveRun: boolean;
}

/** A call to another server that did not end with OK. */
export class CallFailure extends Error {
  override readonly name = "CallFailure";
  /** gRPC's code, 1 to 16. */
  readonly code: number;
  /** What the peer's answer began with, if it began. */
  readonly headers: MetadataEntries;
  /** Of the peer; `grpc-status-details-bin` included. */
  readonly trailers: MetadataEntries;
  /** Why this server ended the call; undefined if the peer did, with this status. */
  readonly reason: ErrorReason | undefined;
  /** False if the peer has provably not begun to work on it: then it may be sent again, or elsewhere. */
  readonly mayHaveRun: boolean;

  constructor(message: string, options: CallFailureOptions) {
    super(message, options);
    this.code = options.code;
    this.headers = options.headers ?? [];
    this.trailers = options.trailers ?? [];
    this.reason = options.reason;
    this.mayHaveRun = options.mayHaveRun;
  }

  /** Whether the status is the peer's own. */
  get isRemote(): boolean {
    return this.reason === undefined;
  }
}
