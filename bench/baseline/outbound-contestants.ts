import http2 from "node:http2";
import { create, type DescMethodUnary } from "@bufbuild/protobuf";
import { BytesValueSchema } from "@bufbuild/protobuf/wkt";
import { createGrpcTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { CollectionService } from "../../src/gen/collector/collection_server_pb.ts";
import { defaultLimits } from "../../src/lib/limits.ts";
import { encodeFrame } from "../../src/rpc/grpc/frame.ts";
import { PeerDialer } from "../../src/rpc/outbound/dialer.ts";

/** One client that calls a method with bytes. */
export interface ServiceClient {
  call(message: Uint8Array): Promise<unknown>;
  close(): Promise<void> | void;
}

const path = "/collector.CollectionService/Get";

export function createServiceClient(kind: string, url: string): ServiceClient {
  switch (kind) {
    case "channel":
      return channelClient(url);
    case "bare":
      return bareClient(url);
    case "grpc-js":
      return grpcJsClient(url);
    case "connect":
      return connectClient(url);
    default:
      throw new Error(`no client ${kind}`);
  }
}

function channelClient(url: string): ServiceClient {
  const dialer = new PeerDialer({ peers: [], allowsLoopback: true, limits: defaultLimits });
  const channel = dialer.dial(url, "url");
  return {
    call: (message) => channel.unary(path, message),
    close: () => dialer[Symbol.asyncDispose](),
  };
}

/** The least that `node:http2` can do as a client of gRPC. */
function bareClient(url: string): ServiceClient {
  const session = http2.connect(url);
  return {
    call: (message) =>
      new Promise((resolve, reject) => {
        const stream = session.request({
          ":method": "POST",
          ":path": path,
          "content-type": "application/grpc",
          te: "trailers",
        });
        stream.on("data", () => undefined);
        stream.on("end", resolve);
        stream.on("error", reject);
        stream.end(encodeFrame(message));
      }),
    close: () => session.close(),
  };
}

function grpcJsClient(url: string): ServiceClient {
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createInsecure());
  const toBuffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer);
  const asIs = (bytes: Buffer): Buffer => bytes;
  return {
    call: (message) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, toBuffer, asIs, message, (error, answer) => {
          if (error === null) resolve(answer);
          else reject(error);
        });
      }),
    close: () => client.close(),
  };
}

/** It takes messages and no bytes; one with a field of bytes comes closest. */
function connectClient(url: string): ServiceClient {
  const transport = createGrpcTransport({ baseUrl: url, acceptCompression: [] });
  const method: DescMethodUnary<typeof BytesValueSchema, typeof BytesValueSchema> = {
    ...CollectionService.method.get,
    input: BytesValueSchema,
    output: BytesValueSchema,
  };
  return {
    call: (value) =>
      transport.unary(method, undefined, undefined, undefined, create(BytesValueSchema, { value })),
    close: () => undefined,
  };
}
