import { CollectorError, type ErrorReason } from "../../errors.ts";
import type { TunnelTrailers } from "../../gen/collector/tunnel_pb.ts";
import { CallSender, type Outlet } from "../../tunnel/call-sender.ts";
import { type FrameBody, fromMetadata, toMetadata, tunnelFault } from "../../tunnel/frames.ts";
import { Inbox } from "../../tunnel/inbox.ts";
import {
  type CallEnd,
  CallFailure,
  type CallOptions,
  type MetadataEntries,
  type StreamAnswer,
} from "../channel.ts";

/** What gRPC says of a code that it does not have. */
const unknownCode = 2;

/** The last of gRPC's codes. */
const codeMax = 16;

/** Longest time that a timer can wait. */
const timerMsMax = 2 ** 31 - 1;

export interface TunnelledCallOptions {
  readonly path: string;
  readonly messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  readonly options: CallOptions;
  readonly messageBytesMax: number;
  readonly metadataBytesMax: number;
  /** gRPC's code of a failure of this end. */
  readonly codeOf: (reason: ErrorReason) => number;
  /** It has ended before it began. */
  readonly onForgotten: () => void;
}

/** A call at the end that makes it. It ends once here, and is over when the other end says so. */
export class TunnelledCall {
  readonly answer: StreamAnswer;
  readonly #options: TunnelledCallOptions;
  readonly #headers = Promise.withResolvers<MetadataEntries>();
  readonly #end = Promise.withResolvers<CallEnd>();
  readonly #inbox: Inbox;
  #sender: CallSender | undefined;
  #onOver: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #onAbort: (() => void) | undefined;
  #hasHeaders = false;
  #began: MetadataEntries = [];
  #hasMessages = false;
  #isEnded = false;
  #source: AsyncIterator<Uint8Array> | Iterator<Uint8Array> | undefined;

  constructor(options: TunnelledCallOptions) {
    this.#options = options;
    this.#inbox = new Inbox({
      messageBytesMax: options.messageBytesMax,
      grant: (bytes) => this.#sender?.grant(bytes),
      onReturn: () => this.#cancel(),
    });
    this.answer = {
      headers: this.#headers.promise,
      messages: this.#inbox,
      end: this.#end.promise,
    };
  }

  /** Whether the other end may have begun to work on it. */
  get #mayHaveRun(): boolean {
    return this.#sender?.hasBegun === true;
  }

  /** Watches the signal and the deadline. @returns whether the call may go on */
  watch(): boolean {
    const { signal, deadlineMs } = this.#options.options;
    if (signal !== undefined) {
      if (signal.aborted) {
        this.#failBy(signal.reason);
        return false;
      }
      this.#onAbort = () => this.#failBy(signal.reason);
      signal.addEventListener("abort", this.#onAbort, { once: true });
    }
    if (deadlineMs !== undefined) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) {
        this.#onDeadline();
        return false;
      }
      this.#timer = setTimeout(() => this.#onDeadline(), Math.min(leftMs, timerMsMax));
    }
    return true;
  }

  /** @param onOver called when the other end is done with it */
  begin(callId: bigint, outlet: Outlet, onOver: () => void): void {
    const sender = new CallSender(callId, outlet);
    this.#sender = sender;
    this.#onOver = onOver;
    sender.open(() => this.#opening());
    void this.#sendAll(sender);
  }

  /** @throws {CollectorError} ARGUMENT_INVALID if a frame breaks the rules */
  accept(callId: bigint, frame: FrameBody): void {
    const sender = this.#sender;
    if (sender === undefined || !sender.hasBegun) {
      throw tunnelFault(callId, "the call was never opened");
    }
    switch (frame.case) {
      case "headers":
        if (this.#hasHeaders || this.#hasMessages) {
          throw tunnelFault(callId, "headers behind the beginning of the answer");
        }
        this.#hasHeaders = true;
        this.#guard(() => {
          this.#began = this.#read(frame.value.metadata);
          this.#headers.resolve(this.#began);
        });
        break;
      case "part":
      case "message":
        if (!this.#hasMessages) this.#headers.resolve([]);
        this.#hasMessages = true;
        this.#guard(() => this.#inbox.accept(callId, frame.value, frame.case === "message"));
        break;
      case "window":
        sender.addCredit(frame.value);
        break;
      case "trailers":
        if (frame.value.code === 0 && this.#inbox.isAmidMessage) {
          throw tunnelFault(callId, "ends amid a message");
        }
        sender.abandon();
        this.#guard(() => this.#onTrailers(frame.value));
        this.#over();
        break;
      default:
        throw tunnelFault(callId, `${frame.case ?? "nothing"} is nothing that a server sends`);
    }
  }

  /** Ends the call from this side; does nothing once it has ended. */
  fail(failure: CallFailure): void {
    if (this.#isEnded) return;
    this.#finish(failure);
    this.#inbox.abort(failure);
    const sender = this.#sender;
    if (sender === undefined) {
      this.#options.onForgotten();
    } else if (sender.hasBegun) {
      sender.abandon({ case: "cancel", value: { $typeName: "collector.TunnelCancel" } });
    } else {
      sender.abandon();
      this.#over();
    }
  }

  /** The stream is gone. What came before is still good. */
  lose(problem: string): void {
    this.#onOver = undefined;
    const failure = this.#failure("PEER_UNAVAILABLE", problem);
    this.#sender?.abandon();
    if (this.#isEnded) return;
    this.#finish(failure);
    this.#inbox.end(failure);
  }

  #over(): void {
    const onOver = this.#onOver;
    this.#onOver = undefined;
    onOver?.();
  }

  #opening(): FrameBody {
    const { path, options } = this.#options;
    const { deadlineMs } = options;
    const leftMs = deadlineMs === undefined ? 0 : Math.max(1, Math.ceil(deadlineMs - now()));
    return {
      case: "open",
      value: {
        $typeName: "collector.TunnelOpen",
        path,
        metadata: toMetadata(options.metadata ?? []),
        timeoutMs: BigInt(leftMs),
      },
    };
  }

  async #sendAll(sender: CallSender): Promise<void> {
    const { messages, messageBytesMax } = this.#options;
    try {
      const source =
        Symbol.asyncIterator in messages
          ? messages[Symbol.asyncIterator]()
          : messages[Symbol.iterator]();
      this.#source = source;
      while (!this.#isEnded) {
        const given = source.next();
        // Awaiting what is there already would split what could go together.
        const result = given instanceof Promise ? await given : given;
        if (result.done === true) {
          this.#source = undefined;
          sender.endMessages({
            case: "halfClose",
            value: { $typeName: "collector.TunnelHalfClose" },
          });
          return;
        }
        if (this.#isEnded) break;
        const { byteLength } = result.value;
        if (byteLength > messageBytesMax) throw tooLarge(byteLength, messageBytesMax);
        const wait = sender.send(result.value);
        if (wait !== undefined) await wait;
      }
    } catch (error) {
      this.#source = undefined;
      this.#failBy(error);
    }
    this.#stopSource();
  }

  /** Whoever makes the messages is told that no more are wanted. */
  #stopSource(): void {
    const source = this.#source;
    this.#source = undefined;
    if (source?.return === undefined) return;
    // A failure of its clean-up comes after the call's end: nobody waits for it any more.
    Promise.resolve(source.return()).catch(() => undefined);
  }

  #onTrailers({ code, message, metadata, notRun }: TunnelTrailers): void {
    if (this.#isEnded) return;
    const trailers = this.#read(metadata);
    if (code === 0) {
      this.#finish(undefined, trailers);
      this.#inbox.end();
      return;
    }
    const isKnown = code > 0 && code <= codeMax;
    const failure = new CallFailure(message, {
      code: isKnown ? code : unknownCode,
      headers: this.#began,
      trailers,
      mayHaveRun: !notRun,
    });
    this.#finish(failure, trailers);
    this.#inbox.end(failure);
  }

  /** What the other end does wrong in this call alone ends this call alone. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (error) {
      if (!(error instanceof CollectorError) || error.reason === "ARGUMENT_INVALID") throw error;
      // Metadata that cannot be carried on is the other end's fault, and not the caller's.
      const reason = error.reason === "MESSAGE_TOO_LARGE" ? error.reason : "INTERNAL";
      this.fail(this.#failure(reason, `the answer: ${error.message}`, error));
    }
  }

  #read(metadata: TunnelTrailers["metadata"]): MetadataEntries {
    return fromMetadata(metadata, this.#options.metadataBytesMax);
  }

  #finish(failure: CallFailure | undefined, trailers: MetadataEntries = []): void {
    this.#isEnded = true;
    clearTimeout(this.#timer);
    if (this.#onAbort !== undefined) {
      this.#options.options.signal?.removeEventListener("abort", this.#onAbort);
    }
    this.#headers.resolve([]);
    const { code = 0, message = "" } = failure ?? {};
    this.#end.resolve({ code, message, trailers, failure });
    this.#stopSource();
  }

  #cancel(): void {
    this.fail(this.#failure("CANCELLED", "the call was cancelled"));
  }

  #onDeadline(): void {
    this.fail(this.#failure("DEADLINE_EXCEEDED", "the call's deadline has passed"));
  }

  #failure(reason: ErrorReason, message: string, cause?: unknown): CallFailure {
    const code = this.#options.codeOf(reason);
    return new CallFailure(message, { code, reason, mayHaveRun: this.#mayHaveRun, cause });
  }

  /** Ends the call for what was thrown on this side, or what its signal says. */
  #failBy(error: unknown): void {
    if (error instanceof CallFailure) {
      this.fail(error);
    } else if (error instanceof CollectorError) {
      this.fail(this.#failure(error.reason, error.message, error));
    } else if (error instanceof DOMException && error.name === "AbortError") {
      this.#cancel();
    } else {
      this.fail(this.#failure("INTERNAL", "the server failed; its log has the details", error));
    }
  }
}

function now(): number {
  return performance.now();
}

function tooLarge(byteLength: number, bytesMax: number): CollectorError {
  return new CollectorError(
    "MESSAGE_TOO_LARGE",
    `a message has ${byteLength} bytes, the limit is ${bytesMax} (messageBytesMax)`,
  );
}
