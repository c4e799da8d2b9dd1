import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../../../errors.ts";
import { type TunnelFrames, TunnelFramesSchema } from "../../../gen/collector/tunnel_pb.ts";
import { Outbox } from "../../../tunnel/outbox.ts";
import type { TunnelEnd, TunnelHandler } from "../../../tunnel/served-call.ts";
import { TunnelServer } from "../../../tunnel/tunnel-server.ts";
import { TunnelCaller } from "../tunnel-caller.ts";

export interface TunnelPairOptions {
  readonly callsMax?: number;
  readonly serverCallsMax?: number;
  readonly waitingMax?: number;
  readonly messageBytesMax?: number;
  /** Waited for before a step is handed on. */
  readonly delay?: () => Promise<void>;
}

/** gRPC's codes, as the server has them. */
const codes: Readonly<Record<string, number>> = {
  CANCELLED: 1,
  DEADLINE_EXCEEDED: 4,
  MESSAGE_TOO_LARGE: 8,
  OVERLOADED: 8,
  METHOD_UNIMPLEMENTED: 12,
  METADATA_INVALID: 3,
  PEER_UNAVAILABLE: 14,
  SHUTTING_DOWN: 14,
};

export const internalCode = 13;

export function codeOf(reason: string): number {
  return codes[reason] ?? internalCode;
}

/** An error of a handler that is to arrive as it is. */
export class StatusError extends Error {
  readonly end: TunnelEnd;

  constructor(end: TunnelEnd) {
    super(end.message);
    this.end = end;
  }
}

export function toEnd(error: unknown): TunnelEnd {
  if (error instanceof StatusError) return error.end;
  if (error instanceof CollectorError) {
    return { code: codeOf(error.reason), message: error.message, metadata: [] };
  }
  return { code: internalCode, message: String(error), metadata: [] };
}

/** Both ends of a tunnel, and what carries the frames between them, as bytes. */
export class TunnelPair implements AsyncDisposable {
  readonly caller: TunnelCaller;
  readonly server: TunnelServer;
  /** Bytes of messages that have gone to the caller. */
  answeredBytes = 0;
  /** What either end had against the other. */
  readonly faults: unknown[] = [];
  readonly #requests: Outbox<TunnelFrames>;
  readonly #answers: Outbox<TunnelFrames>;
  readonly #carried: Promise<unknown>;

  constructor(handler: TunnelHandler, options: TunnelPairOptions = {}) {
    const { callsMax = 100, waitingMax = 100, messageBytesMax = 1024 * 1024 } = options;
    const metadataBytesMax = 16 * 1024;
    const wrap = (frames: TunnelFrames): TunnelFrames => frames;
    this.#requests = new Outbox({ wrap });
    this.#answers = new Outbox({ wrap });
    this.caller = new TunnelCaller({
      outlet: this.#requests,
      endpoint: "the worker",
      callsMax,
      waitingMax,
      messageBytesMax,
      metadataBytesMax,
      codeOf,
    });
    this.server = new TunnelServer({
      outlet: this.#answers,
      handler,
      toEnd,
      callsMax: options.serverCallsMax ?? callsMax,
      messageBytesMax,
      metadataBytesMax,
    });
    this.#carried = Promise.all([
      this.#carry(this.#requests, (frames) => {
        for (const frame of frames.frames) this.server.accept(frame);
      }),
      this.#carry(
        this.#answers,
        (frames) => {
          for (const frame of frames.frames) {
            const { frame: body } = frame;
            if (body.case === "message" || body.case === "part") {
              this.answeredBytes += body.value.byteLength;
            }
            this.caller.accept(frame);
          }
        },
        options.delay,
      ),
    ]);
  }

  /** The stream breaks off. */
  cut(): void {
    this.caller.close();
    this.server.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.cut();
    this.#requests.end();
    this.#answers.end();
    await this.#carried;
  }

  async #carry(
    outbox: Outbox<TunnelFrames>,
    deliver: (frames: TunnelFrames) => void,
    delay?: () => Promise<void>,
  ): Promise<void> {
    for await (const frames of outbox) {
      await delay?.();
      const bytes = toBinary(TunnelFramesSchema, frames);
      try {
        deliver(fromBinary(TunnelFramesSchema, bytes));
      } catch (error) {
        this.faults.push(error);
        this.cut();
      }
    }
  }
}
