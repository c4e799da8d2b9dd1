import { CollectorError } from "../errors.ts";
import type { TunnelFrame, TunnelOpen } from "../gen/collector/tunnel_pb.ts";
import { CallSender, type Outlet } from "./call-sender.ts";
import { type Entries, fromMetadata, tunnelFault } from "./frames.ts";
import { ServedCall, type TunnelEnd, type TunnelHandler, trailers } from "./served-call.ts";

export interface TunnelServerOptions {
  /** Where the frames of this end go. */
  readonly outlet: Outlet;
  /** Runs a call. */
  readonly handler: TunnelHandler;
  /** The status of what a handler throws, and of what this end has against a call. */
  readonly toEnd: (error: unknown) => TunnelEnd;
  /** Calls that may run at a time; more are refused as not run. */
  readonly callsMax: number;
  readonly messageBytesMax: number;
  readonly metadataBytesMax: number;
}

/** A path as gRPC has it. */
const pathPattern = /^\/[A-Za-z_][\w.]*\/[A-Za-z_]\w*$/;

/**
 * The end of a tunnel that runs the calls. It is given the frames that come in, and sends its own
 * through an outlet; the host carries both over some stream.
 */
export class TunnelServer {
  readonly #options: TunnelServerOptions;
  readonly #calls = new Map<bigint, ServedCall | CallSender>();
  #lastId = 0n;
  #runningCount = 0;
  #isDraining = false;
  #isClosed = false;
  #drained: PromiseWithResolvers<void> | undefined;

  constructor(options: TunnelServerOptions) {
    this.#options = options;
  }

  /** Calls that run, or whose end is not sent yet. */
  get callCount(): number {
    return this.#calls.size;
  }

  /**
   * A frame of the other end.
   *
   * @throws {CollectorError} ARGUMENT_INVALID if it breaks the rules: the stream has to be ended then
   */
  accept({ callId, frame }: TunnelFrame): void {
    if (this.#isClosed) return;
    if (frame.case === "open") {
      this.#open(callId, frame.value);
      return;
    }
    const call = this.#calls.get(callId);
    if (call instanceof ServedCall) call.accept(frame);
    else if (callId > this.#lastId || callId < 1n) {
      throw tunnelFault(callId, "the call was never opened");
    }
  }

  /** Refuses calls from now on; resolves when those that run are done and their ends are sent. */
  drain(): Promise<void> {
    this.#isDraining = true;
    this.#drained ??= Promise.withResolvers();
    if (this.#calls.size === 0) this.#drained.resolve();
    return this.#drained.promise;
  }

  /** The stream is gone: whoever runs a call is told to stop. */
  close(): void {
    this.#isClosed = true;
    const gone = new CollectorError("CANCELLED", "the stream that the call came over has ended");
    for (const call of this.#calls.values()) {
      if (call instanceof ServedCall) call.lose(gone);
      else call.abandon();
    }
    this.#calls.clear();
    this.#drained?.resolve();
  }

  #open(callId: bigint, open: TunnelOpen): void {
    if (callId <= this.#lastId) {
      throw tunnelFault(callId, `opens a call, and call ${this.#lastId} was opened before`);
    }
    this.#lastId = callId;
    const { callsMax } = this.#options;
    // Refusals are bounded too: whoever takes none of them has opened more than it may.
    if (this.#calls.size >= 2 * callsMax) {
      throw tunnelFault(callId, `opens more calls than the ${callsMax} that may run at a time`);
    }
    if (this.#isDraining) {
      const text = "no more calls are taken here: make it elsewhere";
      this.#refuse(callId, new CollectorError("SHUTTING_DOWN", text));
    } else if (this.#runningCount >= callsMax) {
      const text = `${callsMax} calls run here already, the limit: make it elsewhere, or later`;
      this.#refuse(callId, new CollectorError("OVERLOADED", text));
    } else if (!pathPattern.test(open.path)) {
      const path = JSON.stringify(open.path.slice(0, 100));
      const text = `the path of a call is /package.Service/Method, not ${path}`;
      this.#refuse(callId, new CollectorError("METHOD_UNIMPLEMENTED", text));
    } else {
      this.#run(callId, open);
    }
  }

  #run(callId: bigint, open: TunnelOpen): void {
    const { outlet, handler, toEnd, messageBytesMax, metadataBytesMax } = this.#options;
    let metadata: Entries;
    try {
      metadata = fromMetadata(open.metadata, metadataBytesMax);
    } catch (error) {
      this.#refuse(callId, error);
      return;
    }
    const call = new ServedCall({
      callId,
      path: open.path,
      metadata,
      timeoutMs: open.timeoutMs > 0n ? Number(open.timeoutMs) : undefined,
      outlet,
      toEnd,
      messageBytesMax,
      onHandled: () => {
        this.#runningCount -= 1;
      },
      onClosed: () => this.#forget(callId),
    });
    this.#calls.set(callId, call);
    this.#runningCount += 1;
    void call.run(handler);
  }

  #refuse(callId: bigint, error: unknown): void {
    const { outlet, toEnd } = this.#options;
    const sender = new CallSender(callId, outlet, () => this.#forget(callId));
    this.#calls.set(callId, sender);
    sender.close(trailers(toEnd(error), true));
  }

  #forget(callId: bigint): void {
    this.#calls.delete(callId);
    if (this.#calls.size === 0) this.#drained?.resolve();
  }
}
