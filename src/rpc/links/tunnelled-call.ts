import type { Via } from "../../mesh/links/link-calls.ts";
import type { TunnelCall } from "../../tunnel/served-call.ts";
import type { Call, RequestMetadata } from "../call.ts";
import { GrpcRequestMetadata, GrpcResponseMetadata } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";

export interface TunnelledCallOptions {
  readonly call: TunnelCall;
  readonly via: Via;
  readonly serviceName: string;
  readonly methodName: string;
  readonly requestId: string;
  /** When this server ends the call, if that is before its caller gives up. */
  readonly deadlineMs: number | undefined;
}

/** A call of a linked collector that came back over the stream which this one has opened. */
export class TunnelledCall implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "grpc";
  readonly peer: string;
  readonly via: Via;
  requestId: string;
  namespace = "";
  deadlineMs: number | undefined;
  readonly requestMetadata: RequestMetadata;
  readonly responseHeaders: GrpcResponseMetadata = new GrpcResponseMetadata();
  readonly responseTrailers: GrpcResponseMetadata = new GrpcResponseMetadata();
  executorId?: string;
  #areHeadersSent = false;
  readonly #call: TunnelCall;

  constructor(options: TunnelledCallOptions) {
    const { call, via } = options;
    this.#call = call;
    this.via = via;
    this.serviceName = options.serviceName;
    this.methodName = options.methodName;
    this.peer = `collector ${via.collectorId}`;
    this.requestId = options.requestId;
    this.deadlineMs = options.deadlineMs;
    const headers: Record<string, string> = {};
    for (const [name, value] of call.metadata) headers[name] ??= value;
    this.requestMetadata = new GrpcRequestMetadata(headers, call.metadata.flat(), true);
  }

  get signal(): AbortSignal {
    return this.#call.signal;
  }

  /** Sends the headers of the answer, if there are any; to be called before its first message. */
  sendHeaders(): void {
    const { list } = this.responseHeaders;
    if (this.#areHeadersSent) return;
    this.#areHeadersSent = true;
    this.responseHeaders.seal();
    if (list.length > 0) this.#call.sendHeaders(pairsOf(list));
  }

  flushHeaders(): void {
    this.sendHeaders();
  }

  /** Settles what goes with the status. */
  setTrailers(): void {
    this.responseTrailers.seal();
    this.#call.setTrailers(pairsOf(this.responseTrailers.list));
  }
}

export function pairsOf(list: HeaderList): [string, string][] {
  const pairs: [string, string][] = [];
  for (let i = 0; i + 1 < list.length; i += 2) pairs.push([list[i] ?? "", list[i + 1] ?? ""]);
  return pairs;
}
