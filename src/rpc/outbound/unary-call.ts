import { Code } from "@connectrpc/connect";
import { CallFailure, type CallOptions, type UnaryAnswer } from "../../mesh/channel.ts";
import { unpack } from "../grpc/compression.ts";
import { encodeFrame, type Frame, FrameReader, messageTooLarge } from "../grpc/frame.ts";
import { ownFailure } from "./failures.ts";
import { type CallHost, OutboundCall } from "./outbound-call.ts";

/** A call of one message for one message: no queue, no iterator. */
export class UnaryCall extends OutboundCall {
  readonly answer: Promise<UnaryAnswer>;
  readonly #message: Uint8Array;
  readonly #reader: FrameReader;
  #frame: Frame | undefined;
  #resolve!: (answer: UnaryAnswer) => void;
  #reject!: (failure: CallFailure) => void;

  constructor(host: CallHost, path: string, message: Uint8Array, options: CallOptions) {
    super(host, path, options);
    this.#message = message;
    this.#reader = new FrameReader(host.messageBytesMax);
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  override start(): boolean {
    const { byteLength } = this.#message;
    const { messageBytesMax } = this.host;
    if (byteLength <= messageBytesMax) return super.start();
    this.fail(ownFailure(messageTooLarge(byteLength, messageBytesMax), false));
    return false;
  }

  protected override wholeRequest(): Uint8Array {
    return encodeFrame(this.#message);
  }

  protected override send(): void {
    // It is sent with the headers.
  }

  override onDrain(): void {
    // Nothing waits to be sent.
  }

  protected override onAnswer(): void {
    // Its headers are of interest with the message.
  }

  protected override take(chunk: Uint8Array): void {
    if (this.#frame !== undefined) throw wrongMessageCount("more than one");
    this.#reader.push(chunk);
    this.#frame = this.#reader.next();
    if (this.#frame !== undefined && this.#reader.bufferedBytes > 0) {
      throw wrongMessageCount("more than one");
    }
  }

  protected override onStatus(failure: CallFailure | undefined): void {
    const frame = this.#frame;
    if (failure !== undefined) this.#reject(failure);
    else if (frame === undefined) this.#reject(wrongMessageCount("no whole one"));
    else if (frame.compressed) void this.#unpack(frame);
    else this.#deliver(frame.view);
  }

  protected override onFailure(failure: CallFailure): void {
    this.#reader.clear();
    this.#reject(failure);
  }

  async #unpack(frame: Frame): Promise<void> {
    try {
      if (!this.isPacked) throw unannounced();
      this.#deliver(await unpack(frame.payload, this.host.messageBytesMax));
    } catch (error) {
      this.#reject(ownFailure(error, true));
    }
  }

  #deliver(message: Uint8Array): void {
    this.#resolve({ message, headers: this.answerHeaders, trailers: this.answerTrailers });
  }
}

function wrongMessageCount(found: string): CallFailure {
  return new CallFailure(`the answer should hold one message, and ${found} came`, {
    code: Code.Unimplemented,
    mayHaveRun: true,
  });
}

/** A message that is packed although the answer's headers do not say how. */
export function unannounced(): CallFailure {
  return new CallFailure("a message is marked as compressed, and the answer has no grpc-encoding", {
    code: Code.Internal,
    mayHaveRun: true,
  });
}
