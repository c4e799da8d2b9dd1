import type { ErrorReason } from "../../errors.ts";
import type { TunnelFrames } from "../../gen/collector/tunnel_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Outlet } from "../../tunnel/call-sender.ts";
import type { TunnelCall, TunnelEnd } from "../../tunnel/served-call.ts";
import { TunnelServer } from "../../tunnel/tunnel-server.ts";
import type { Channel } from "../channel.ts";
import { TunnelCaller } from "../tunnel/tunnel-caller.ts";

/** The link that a call came over. */
export interface Via {
  readonly connectionId: string;
  /** The collector that made the call, or passed it on. */
  readonly collectorId: string;
}

/** What the rest of the server does for calls over links. */
export interface LinkCallHost {
  /** Runs a call of another collector: its messages are the answer, what it throws is the status. */
  run(call: TunnelCall, via: Via): AsyncIterable<Uint8Array>;
  /** The status of what was thrown. */
  toEnd(error: unknown): TunnelEnd;
  /** gRPC's code of a failure. */
  codeOf(reason: ErrorReason): number;
}

export type CallLimits = Pick<Limits, "linkCallsMax" | "messageBytesMax" | "headerBytesMax">;

/** The calls that travel over the stream of a link, at one of its ends. */
export interface StreamCalls {
  /** Makes calls; undefined at the end that runs them. */
  readonly channel: Channel | undefined;
  /** @throws {CollectorError} ARGUMENT_INVALID if the other end breaks the rules */
  accept(frames: TunnelFrames): void;
  /** No new calls; resolves when those that run are done. */
  drain(): Promise<void>;
  /** The stream is gone. */
  close(problem: string): void;
}

/** At the end that has opened the stream: it can dial, so it makes no calls here, and runs them. */
export function servedCalls(
  via: Via,
  outlet: Outlet,
  host: LinkCallHost,
  limits: CallLimits,
): StreamCalls {
  const server = new TunnelServer({
    outlet,
    handler: (call) => host.run(call, via),
    toEnd: (error) => host.toEnd(error),
    callsMax: limits.linkCallsMax,
    messageBytesMax: limits.messageBytesMax,
    metadataBytesMax: limits.headerBytesMax,
  });
  return {
    channel: undefined,
    accept: ({ frames }) => {
      for (const frame of frames) server.accept(frame);
    },
    drain: () => server.drain(),
    close: () => server.close(),
  };
}

/** At the end that has accepted the stream, and that may be unable to dial the other one. */
export function madeCalls(
  via: Via,
  outlet: Outlet,
  host: LinkCallHost,
  limits: CallLimits,
): StreamCalls {
  const caller = new TunnelCaller({
    outlet,
    endpoint: `collector ${via.collectorId}`,
    callsMax: limits.linkCallsMax,
    waitingMax: limits.linkCallsMax,
    messageBytesMax: limits.messageBytesMax,
    metadataBytesMax: limits.headerBytesMax,
    codeOf: (reason) => host.codeOf(reason),
  });
  return {
    channel: caller,
    accept: ({ frames }) => {
      for (const frame of frames) caller.accept(frame);
    },
    drain: () => caller.drain(),
    close: (problem) => caller.close(problem),
  };
}
