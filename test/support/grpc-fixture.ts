import assert from "node:assert/strict";
import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import * as grpc from "@grpc/grpc-js";
import { defaultLimits, type Limits } from "../../src/lib/limits.ts";
import type { Call, RawMethod } from "../../src/rpc/call.ts";
import { createGrpcHandler, type GrpcHandler } from "../../src/rpc/grpc/grpc-handler.ts";
import { ReceiveBudget } from "../../src/rpc/http/receive-budget.ts";
import { RouteTable } from "../../src/rpc/route-table.ts";
import { bytesOf, isStream, mapEach, toRaw } from "../../src/rpc/runtime/raw-message.ts";
import { echoService, messageType, openFixture } from "./http-fixture.ts";

export const requestType: DescMessage = messageType("echo.v1.EchoRequest");
export const responseType: DescMessage = messageType("echo.v1.EchoResponse");

/** The fields of `echo.v1.EchoRequest` that these tests use. */
export type Echo = Message & { text: string; data: Uint8Array; count: number };
export type EchoAnswer = Message & { request?: Echo; metadata: Record<string, string> };

/** What a handler may answer with: the fields that it sets. */
export interface Answer {
  readonly request?: Partial<Pick<Echo, "text" | "data" | "count">>;
  readonly metadata?: Record<string, string>;
}

/** The methods of `echo.v1.Echo`; a test gives those that it is about. */
export interface EchoHandlers {
  unary(request: Echo, call: Call): Promise<Answer>;
  serverStream(request: Echo, call: Call): AsyncIterable<Answer>;
  clientStream(requests: AsyncIterable<Echo>, call: Call): Promise<Answer>;
  bidi(requests: AsyncIterable<Echo>, call: Call): AsyncIterable<Answer>;
  wait(request: Echo, call: Call): Promise<Answer>;
}

const plain: EchoHandlers & Record<"pure" | "fail", EchoHandlers["unary"]> = {
  unary: (request) => Promise.resolve({ request }),
  pure: (request) => Promise.resolve({ request }),
  fail: () => Promise.reject(new Error("a secret of the server")),
  async *serverStream(request) {
    for (let i = 0; i < request.count; i += 1) yield { request: { ...request, count: i } };
  },
  async clientStream(requests) {
    const texts: string[] = [];
    for await (const { text } of requests) texts.push(text);
    return { request: { text: texts.join(" "), count: texts.length } };
  },
  async *bidi(requests) {
    for await (const request of requests) yield { request };
  },
  wait: (_request, call) =>
    new Promise((_resolve, reject) => {
      call.signal.addEventListener("abort", () => reject(call.signal.reason));
    }),
};

export interface GrpcFixture extends AsyncDisposable {
  readonly url: string;
  /** Host and port. */
  readonly address: string;
  readonly handler: GrpcHandler;
  /** What the server logged as its own failures. */
  readonly logged: readonly object[];
  /** Stops as a server does: no new calls, `drainMs` for those in flight. */
  close(drainMs: number): Promise<void>;
}

/** A method that is passed on as bytes. */
export type RawHandler = (
  input: AsyncIterable<Uint8Array>,
  call: Call,
) => AsyncIterable<Uint8Array>;

export interface GrpcFixtureOptions {
  readonly limits?: Partial<Limits>;
  readonly handlers?: Partial<EchoHandlers>;
  /** Serves what is not known, as a stream of bytes both ways. */
  readonly findRaw?: (serviceName: string, methodName: string) => RawHandler | undefined;
}

/** A port whose gRPC calls are served by the handlers given, and by plain echoes. */
export async function openGrpcFixture(options: GrpcFixtureOptions = {}): Promise<GrpcFixture> {
  const limits = { ...defaultLimits, ...options.limits };
  const raw = (serviceName: string, methodName: string): RawMethod | undefined => {
    const handler = options.findRaw?.(serviceName, methodName);
    if (handler === undefined) return undefined;
    return {
      kind: "bidi_streaming",
      invoke: (input, call) => {
        assert.ok(isStream(input));
        return Promise.resolve(mapEach(handler(mapEach(input, bytesOf), call), toRaw));
      },
    };
  };
  const routes = new RouteTable(() => [], { raw, typed: () => undefined });
  routes.add(echoService, { ...plain, ...options.handlers } as never);
  const logged: object[] = [];
  const budget = new ReceiveBudget(limits.receiveBufferBytesMax);
  let requests = 0;
  const handler = createGrpcHandler({
    routes,
    limits,
    newRequestId: () => `request-${++requests}`,
    log: { error: (fields) => logged.push(fields) },
    openShare: () => budget.open(),
  });
  const fixture = await openFixture({
    limits: options.limits ?? {},
    port: { routes, grpc: handler },
  });
  return {
    url: fixture.url,
    address: fixture.port.address,
    handler,
    logged,
    close: (drainMs) => fixture.port.close({ drainMs }),
    [Symbol.asyncDispose]: () => fixture[Symbol.asyncDispose](),
  };
}

export function encodeEcho(fields: Partial<Pick<Echo, "text" | "data" | "count">>): Uint8Array {
  return toBinary(requestType, { ...emptyEcho(), ...fields });
}

export function decodeAnswer(bytes: Uint8Array): EchoAnswer {
  return fromBinary(responseType, bytes) as EchoAnswer;
}

function emptyEcho(): Message {
  return fromBinary(requestType, new Uint8Array());
}

type EchoFields = Parameters<typeof encodeEcho>[0];

/** Calls `echo.v1.Echo` by grpc-js, the client that most of Node uses. */
export class GrpcJsClient implements Disposable {
  readonly #client: grpc.Client;

  constructor(address: string, options: grpc.ClientOptions = {}) {
    this.#client = new grpc.Client(address, grpc.credentials.createInsecure(), options);
  }

  unary(
    method: string,
    request: EchoFields,
    metadata: grpc.Metadata = new grpc.Metadata(),
    options: grpc.CallOptions = {},
  ): { readonly call: grpc.ClientUnaryCall; readonly answer: Promise<EchoAnswer> } {
    const { promise, resolve, reject } = Promise.withResolvers<EchoAnswer>();
    const done = (error: grpc.ServiceError | null, answer?: EchoAnswer): void => {
      if (answer === undefined) reject(error ?? new Error("neither error nor answer"));
      else resolve(answer);
    };
    const path = `/echo.v1.Echo/${method}`;
    const call = this.#client.makeUnaryRequest(
      path,
      serialize,
      deserialize,
      request,
      metadata,
      options,
      done,
    );
    return { call, answer: promise };
  }

  serverStream(
    request: EchoFields,
    options: grpc.CallOptions = {},
  ): grpc.ClientReadableStream<EchoAnswer> {
    const path = "/echo.v1.Echo/ServerStream";
    return this.#client.makeServerStreamRequest(path, serialize, deserialize, request, options);
  }

  clientStream(): {
    readonly call: grpc.ClientWritableStream<EchoFields>;
    readonly answer: Promise<EchoAnswer>;
  } {
    const { promise, resolve, reject } = Promise.withResolvers<EchoAnswer>();
    const path = "/echo.v1.Echo/ClientStream";
    const call = this.#client.makeClientStreamRequest(
      path,
      serialize,
      deserialize,
      (error: grpc.ServiceError | null, answer?: EchoAnswer) => {
        if (answer === undefined) reject(error ?? new Error("neither error nor answer"));
        else resolve(answer);
      },
    );
    return { call, answer: promise };
  }

  bidi(): grpc.ClientDuplexStream<EchoFields, EchoAnswer> {
    return this.#client.makeBidiStreamRequest("/echo.v1.Echo/Bidi", serialize, deserialize);
  }

  [Symbol.dispose](): void {
    this.#client.close();
  }
}

function serialize(fields: EchoFields): Buffer {
  return Buffer.from(encodeEcho(fields));
}

function deserialize(bytes: Buffer): EchoAnswer {
  return decodeAnswer(bytes);
}
