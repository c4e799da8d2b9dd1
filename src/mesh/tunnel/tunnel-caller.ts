import type { ErrorReason } from "../../errors.ts";
import type { TunnelFrame } from "../../gen/collector/tunnel_pb.ts";
import type { Outlet } from "../../tunnel/call-sender.ts";
import { tunnelFault } from "../../tunnel/frames.ts";
import {
  CallFailure,
  type CallOptions,
  type Channel,
  type ChannelState,
  type StreamAnswer,
  type UnaryAnswer,
} from "../channel.ts";
import { TunnelledCall } from "./tunnelled-call.ts";

const leaving = "takes no more calls";

export interface TunnelCallerOptions {
  /** Where the frames of this end go. */
  readonly outlet: Outlet;
  /** Names the other end, for people. */
  readonly endpoint: string;
  /** Calls that the other end runs at a time; more wait. */
  readonly callsMax: number;
  /** Calls that may wait. */
  readonly waitingMax: number;
  readonly messageBytesMax: number;
  readonly metadataBytesMax: number;
  /** gRPC's code of a failure of this end. */
  readonly codeOf: (reason: ErrorReason) => number;
}

/**
 * The end of a tunnel that makes the calls. It is given the frames that come in, and sends its own
 * through an outlet; the host carries both over some stream.
 */
export class TunnelCaller implements Channel {
  readonly endpoint: string;
  readonly #options: TunnelCallerOptions;
  readonly #calls = new Map<bigint, TunnelledCall>();
  readonly #waiting = new Set<TunnelledCall>();
  #lastId = 0n;
  #isDraining = false;
  /** Why there is no stream any more. */
  #problem: string | undefined;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: TunnelCallerOptions) {
    this.#options = options;
    this.endpoint = options.endpoint;
  }

  get state(): ChannelState {
    return this.#isDraining || this.#problem !== undefined ? "closed" : "ready";
  }

  /** Calls that run or wait, and those that were given up and run on at the other end. */
  get callCount(): number {
    return this.#calls.size + this.#waiting.size;
  }

  /** Whether another call would begin at once. */
  get hasRoom(): boolean {
    return this.state === "ready" && this.#calls.size < this.#options.callsMax;
  }

  async unary(path: string, message: Uint8Array, options: CallOptions = {}): Promise<UnaryAnswer> {
    const { answer } = this.#start(path, [message], options);
    const first = await answer.messages.next();
    if (first.done === true) throw this.#wrongCount("none");
    const second = await answer.messages.next();
    if (second.done !== true) {
      await answer.messages.return?.();
      throw this.#wrongCount("more than one");
    }
    const [headers, { trailers }] = await Promise.all([answer.headers, answer.end]);
    return { message: first.value, headers, trailers };
  }

  stream(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    return this.#start(path, messages, options).answer;
  }

  /**
   * A frame of the other end.
   *
   * @throws {CollectorError} ARGUMENT_INVALID if it breaks the rules: the stream has to be ended then
   */
  accept({ callId, frame }: TunnelFrame): void {
    if (this.#problem !== undefined) return;
    const call = this.#calls.get(callId);
    if (call === undefined) {
      const isKnown = callId > 0n && callId <= this.#lastId;
      throw tunnelFault(callId, isKnown ? "the call is over" : "the call was never opened");
    }
    call.accept(callId, frame);
  }

  /** Makes no calls from now on; resolves when those that run are done. Those that wait fail. */
  drain(): Promise<void> {
    this.#isDraining = true;
    for (const call of this.#waiting) call.fail(this.#gone(leaving));
    this.#drained ??= Promise.withResolvers();
    if (this.#calls.size === 0) this.#drained.resolve();
    return this.#drained.promise;
  }

  /** The stream is gone: every call fails at once, as one that may have run if it was sent. */
  close(problem = "has gone"): void {
    if (this.#problem !== undefined) return;
    this.#problem = problem;
    const text = `${this.endpoint} ${problem}`;
    for (const call of [...this.#calls.values(), ...this.#waiting]) call.lose(text);
    this.#calls.clear();
    this.#waiting.clear();
    this.#drained?.resolve();
  }

  /** Lets calls that are under way go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDraining = true;
    await Promise.resolve();
  }

  #start(
    path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions,
  ): TunnelledCall {
    const { messageBytesMax, metadataBytesMax, codeOf } = this.#options;
    const call = new TunnelledCall({
      path,
      messages,
      options,
      messageBytesMax,
      metadataBytesMax,
      codeOf,
      onForgotten: () => void this.#waiting.delete(call),
    });
    if (!call.watch()) return call;
    if (this.#problem !== undefined) call.fail(this.#gone(this.#problem));
    else if (this.#isDraining) call.fail(this.#gone(leaving));
    else if (this.#calls.size < this.#options.callsMax) this.#begin(call);
    else this.#wait(call);
    return call;
  }

  #wait(call: TunnelledCall): void {
    const { waitingMax, callsMax } = this.#options;
    if (this.#waiting.size < waitingMax) {
      this.#waiting.add(call);
      return;
    }
    const text = `${this.endpoint} runs ${callsMax} calls, and ${waitingMax} wait for it, the limit`;
    call.fail(this.#refusal("OVERLOADED", text));
  }

  #begin(call: TunnelledCall): void {
    this.#lastId += 1n;
    const callId = this.#lastId;
    this.#calls.set(callId, call);
    call.begin(callId, this.#options.outlet, () => {
      this.#calls.delete(callId);
      this.#next();
    });
  }

  /** A call is over at the other end. */
  #next(): void {
    for (const call of this.#waiting) {
      if (this.#calls.size >= this.#options.callsMax) break;
      this.#waiting.delete(call);
      this.#begin(call);
    }
    if (this.#calls.size === 0) this.#drained?.resolve();
  }

  #gone(problem: string): CallFailure {
    return this.#refusal("PEER_UNAVAILABLE", `${this.endpoint} ${problem}`);
  }

  /** A call that was not sent. */
  #refusal(reason: ErrorReason, text: string): CallFailure {
    const code = this.#options.codeOf(reason);
    return new CallFailure(text, { code, reason, mayHaveRun: false });
  }

  #wrongCount(found: string): CallFailure {
    return new CallFailure(`the answer should hold one message, and ${found} came`, {
      code: this.#options.codeOf("METHOD_UNIMPLEMENTED"),
      mayHaveRun: true,
    });
  }
}
