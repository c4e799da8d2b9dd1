import {
  create,
  type DescMessage,
  type DescMethod,
  type DescService,
  fromBinary,
  type Message,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { TunnelCall, TunnelHandler } from "../tunnel/served-call.ts";
import type { WorkerCall, WorkerHandlers } from "./worker-handlers.ts";
import { ReceivedMetadata, SentMetadata } from "./worker-metadata.ts";
import { HandlerFailure } from "./worker-status.ts";

type Input = Message | AsyncIterable<Message>;
type AnyHandler = (input: Input, call: WorkerCall) => Promise<object> | AsyncIterable<object>;

/** Runs calls that come over a tunnel by the handlers of one service. */
export function runHandlers<S extends DescService>(
  service: S,
  handlers: WorkerHandlers<S>,
): TunnelHandler {
  const methods = new Map<string, { readonly desc: DescMethod; readonly handler: AnyHandler }>();
  for (const desc of service.methods) {
    const handler = (handlers as Record<string, AnyHandler>)[desc.localName];
    if (handler === undefined)
      throw new TypeError(`${service.typeName}/${desc.name} has no handler`);
    methods.set(`/${service.typeName}/${desc.name}`, { desc, handler: handler.bind(handlers) });
  }
  return async function* (tunnelled) {
    const { path } = tunnelled;
    const method = methods.get(path);
    if (method === undefined) throw new ConnectError(`${path} is not run here`, Code.Unimplemented);
    const { desc, handler } = method;
    const call = new HandledCall(tunnelled, desc);
    try {
      const requests = decodeAll(desc.input, tunnelled);
      const takesOne = desc.methodKind === "unary" || desc.methodKind === "server_streaming";
      const answer = handler(takesOne ? await single(requests, desc) : requests, call);
      if (Symbol.asyncIterator in answer) {
        for await (const item of answer) yield call.encode(item);
      } else {
        yield call.encode(await answer);
      }
      call.end();
    } catch (error) {
      throw new HandlerFailure(error, call.responseTrailers.entries);
    }
  };
}

class HandledCall implements WorkerCall {
  readonly serviceName: string;
  readonly methodName: string;
  readonly deadlineMs: number | undefined;
  readonly signal: AbortSignal;
  readonly requestMetadata: ReceivedMetadata;
  readonly responseHeaders = new SentMetadata();
  readonly responseTrailers = new SentMetadata();
  readonly #tunnelled: TunnelCall;
  readonly #output: DescMessage;
  #hasBegun = false;

  constructor(tunnelled: TunnelCall, desc: DescMethod) {
    this.#tunnelled = tunnelled;
    this.#output = desc.output;
    this.serviceName = desc.parent.typeName;
    this.methodName = desc.name;
    this.deadlineMs = tunnelled.deadlineMs;
    this.signal = tunnelled.signal;
    this.requestMetadata = new ReceivedMetadata(tunnelled.metadata);
  }

  /** The bytes of an answer; with the first one, the headers go. */
  encode(item: object): Uint8Array {
    this.#begin();
    const output = this.#output;
    return toBinary(output, create(output, item as MessageInitShape<typeof output>));
  }

  end(): void {
    this.#begin();
    this.#tunnelled.setTrailers(this.responseTrailers.seal());
  }

  #begin(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const headers = this.responseHeaders.seal();
    if (headers.length > 0) this.#tunnelled.sendHeaders(headers);
  }
}

async function* decodeAll(desc: DescMessage, { messages }: TunnelCall): AsyncIterable<Message> {
  for await (const bytes of messages) {
    try {
      yield fromBinary(desc, bytes);
    } catch (cause) {
      const text = `the request is no valid ${desc.typeName}`;
      throw new ConnectError(text, Code.InvalidArgument, undefined, undefined, cause);
    }
  }
}

/** gRPC's own answer (its `statuscodes.md`) to a request with a wrong number of messages. */
async function single(requests: AsyncIterable<Message>, { name }: DescMethod): Promise<Message> {
  let found: Message | undefined;
  for await (const request of requests) {
    if (found !== undefined) throw wrongCount(name, "more than one");
    found = request;
  }
  if (found === undefined) throw wrongCount(name, "none");
  return found;
}

function wrongCount(name: string, found: string): ConnectError {
  return new ConnectError(
    `${name} takes exactly one request message, and ${found} came`,
    Code.Unimplemented,
  );
}
