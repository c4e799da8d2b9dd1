import { CollectorError } from "../errors.ts";
import { CallSender, type Outlet } from "./call-sender.ts";
import { type Entries, type FrameBody, toMetadata, tunnelFault } from "./frames.ts";
import { Inbox } from "./inbox.ts";

/** Longest time that a timer can wait. */
const timerMsMax = 2 ** 31 - 1;

/** How a call ends. Code 0 is OK, the others are gRPC's. */
export interface TunnelEnd {
  readonly code: number;
  readonly message: string;
  /** The details of an error under `grpc-status-details-bin`. */
  readonly metadata: Entries;
}

/** A call that has come over a tunnel, as whoever runs it sees it. */
export interface TunnelCall {
  /** As in `/shop.v1.Shop/Quote`. */
  readonly path: string;
  /** In the order of the wire; values of names that end in `-bin` are base64. */
  readonly metadata: Entries;
  /** When the caller stops waiting, on the clock of `performance.now()`. */
  readonly deadlineMs: number | undefined;
  /** Fires when the caller gives up, when the deadline passes and when the stream is lost. */
  readonly signal: AbortSignal;
  /** Iterated once. What is not asked for holds the caller back. */
  readonly messages: AsyncIterableIterator<Uint8Array, undefined>;
  /** Sends metadata ahead of the answer, at once. Only before the first message, and once. */
  sendHeaders(metadata: Iterable<readonly [string, string]>): void;
  /** Metadata that goes with the status, if that is OK. */
  setTrailers(metadata: Iterable<readonly [string, string]>): void;
}

/** Runs a call: its messages are the answer, what it throws is the status. */
export type TunnelHandler = (call: TunnelCall) => AsyncIterable<Uint8Array>;

export interface ServedCallOptions {
  readonly callId: bigint;
  readonly path: string;
  readonly metadata: Entries;
  readonly timeoutMs: number | undefined;
  readonly outlet: Outlet;
  readonly toEnd: (error: unknown) => TunnelEnd;
  readonly messageBytesMax: number;
  /** The handler has ended. */
  readonly onHandled: () => void;
  /** The end of the call is sent. */
  readonly onClosed: () => void;
}

/** A call at the end that runs it. It is over when its handler is, also if nobody waits any more. */
export class ServedCall implements TunnelCall {
  readonly path: string;
  readonly metadata: Entries;
  readonly deadlineMs: number | undefined;
  readonly messages: Inbox;
  readonly #options: ServedCallOptions;
  readonly #sender: CallSender;
  readonly #controller = new AbortController();
  #timer: NodeJS.Timeout | undefined;
  #trailers: Entries = [];
  /** Why the handler was told to stop. */
  #interruption: CollectorError | undefined;
  #isHalfClosed = false;
  #isCancelled = false;
  #hasAnswered = false;
  /** The handler has ended; some of its messages may still have to go. */
  #isHandled = false;

  constructor(options: ServedCallOptions) {
    const { callId, outlet, messageBytesMax, timeoutMs } = options;
    this.#options = options;
    this.path = options.path;
    this.metadata = options.metadata;
    this.#sender = new CallSender(callId, outlet, options.onClosed);
    this.messages = new Inbox({
      messageBytesMax,
      grant: (bytes) => this.#sender.grant(bytes),
      onReturn: () => undefined,
    });
    if (timeoutMs === undefined) return;
    this.deadlineMs = performance.now() + timeoutMs;
    this.#timer = setTimeout(
      () => {
        const text = "the call's deadline has passed";
        this.#interrupt(new CollectorError("DEADLINE_EXCEEDED", text));
      },
      Math.min(timeoutMs, timerMsMax),
    );
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** @throws {CollectorError} ARGUMENT_INVALID if a frame breaks the rules */
  accept(frame: FrameBody): void {
    const { callId } = this.#options;
    if (this.#isHandled && frame.case !== "window" && frame.case !== "cancel") return;
    if (this.#isCancelled) throw tunnelFault(callId, "the call was cancelled before");
    switch (frame.case) {
      case "part":
      case "message":
        if (this.#isHalfClosed) throw tunnelFault(callId, "a message after the last one");
        this.#acceptMessage(frame.value, frame.case === "message");
        break;
      case "halfClose":
        if (this.#isHalfClosed) throw tunnelFault(callId, "a second end of its messages");
        if (this.messages.isAmidMessage) throw tunnelFault(callId, "ends amid a message");
        this.#isHalfClosed = true;
        this.messages.end();
        break;
      case "window":
        this.#sender.addCredit(frame.value);
        break;
      case "cancel":
        this.#isCancelled = true;
        this.#cancel();
        break;
      default:
        throw tunnelFault(callId, `${frame.case ?? "nothing"} is nothing that a caller sends`);
    }
  }

  /** The stream is gone: nothing can be answered. */
  lose(error: CollectorError): void {
    this.#interrupt(error);
    this.#sender.abandon();
  }

  sendHeaders(metadata: Iterable<readonly [string, string]>): void {
    if (this.#hasAnswered) throw new TypeError("the answer has begun already");
    this.#hasAnswered = true;
    const value = { $typeName: "collector.TunnelHeaders", metadata: toMetadata(metadata) } as const;
    this.#sender.open(() => ({ case: "headers", value }));
  }

  setTrailers(metadata: Iterable<readonly [string, string]>): void {
    this.#trailers = [...metadata];
  }

  /** Runs the handler to its end. Never rejects. */
  async run(handler: TunnelHandler): Promise<void> {
    let failure: unknown;
    try {
      await this.#answer(handler(this)[Symbol.asyncIterator]());
    } catch (error) {
      failure = error;
    }
    failure = this.#interruption ?? failure;
    const ok = { code: 0, message: "", metadata: this.#trailers };
    this.#finish(failure === undefined ? ok : this.#options.toEnd(failure));
  }

  async #answer(answers: AsyncIterator<Uint8Array>): Promise<void> {
    const { messageBytesMax } = this.#options;
    for (;;) {
      const result = await answers.next();
      if (result.done === true) return;
      if (this.#interruption !== undefined) break;
      const { byteLength } = result.value;
      if (byteLength > messageBytesMax) {
        await answers.return?.();
        throw tooLarge(byteLength, messageBytesMax);
      }
      this.#hasAnswered = true;
      const wait = this.#sender.send(result.value);
      if (wait !== undefined) await wait;
      // A wait ends with an interruption, too.
      if (this.#isInterrupted()) break;
    }
    await answers.return?.();
  }

  #isInterrupted(): boolean {
    return this.#interruption !== undefined;
  }

  #acceptMessage(bytes: Uint8Array, isLast: boolean): void {
    try {
      this.messages.accept(this.#options.callId, bytes, isLast);
    } catch (error) {
      if (!(error instanceof CollectorError) || error.reason !== "MESSAGE_TOO_LARGE") throw error;
      this.#interrupt(error);
    }
  }

  #cancel(): void {
    const error = new CollectorError("CANCELLED", "the caller cancelled the call");
    if (this.#isHandled) this.#sender.abandon(trailers(this.#options.toEnd(error)));
    else this.#interrupt(error);
  }

  #interrupt(error: CollectorError): void {
    if (this.#interruption !== undefined || this.#isHandled) return;
    this.#interruption = error;
    clearTimeout(this.#timer);
    this.messages.abort(error);
    // Frees whoever waits for the window.
    this.#sender.dropMessages();
    this.#controller.abort(error);
  }

  #finish(end: TunnelEnd): void {
    this.#isHandled = true;
    clearTimeout(this.#timer);
    this.messages.discard();
    this.#options.onHandled();
    this.#sender.close(trailers(end));
  }
}

/** How a call ends, as a frame. */
export function trailers({ code, message, metadata }: TunnelEnd, notRun = false): FrameBody {
  return {
    case: "trailers",
    value: {
      $typeName: "collector.TunnelTrailers",
      code,
      message,
      metadata: toMetadata(metadata),
      notRun,
    },
  };
}

function tooLarge(byteLength: number, bytesMax: number): CollectorError {
  return new CollectorError(
    "MESSAGE_TOO_LARGE",
    `a message has ${byteLength} bytes, the limit is ${bytesMax} (messageBytesMax)`,
  );
}
