import http2 from "node:http2";
import { create, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import * as grpc from "@grpc/grpc-js";
import { connect } from "../../src/client/client.ts";
import {
  CollectionService,
  GetRequestSchema,
  type GetResponse,
  GetResponseSchema,
} from "../../src/gen/collector/collection_server_pb.ts";
import { encodeFrame } from "../../src/rpc/grpc/frame.ts";
import { noteDesc } from "../../test/support/notes.ts";
import { recordId } from "../load/sources.ts";

/**
 * Gets records, so many at a time, and prints the CPU that each took in this process, in µs. Every client has the
 * record's message in hand in the end, decoded.
 *
 * Arguments: the kind of client, the server's URL, how many records there are, calls, calls in flight.
 */
const [kind = "", url = "", records = "1", calls = "0", inFlight = "1"] = process.argv.slice(2);
const path = "/collector.CollectionService/Get";
const collectionName = "notes";

interface Getter {
  get(id: string): Promise<unknown>;
  close(): void;
}

function createGetter(): Getter {
  switch (kind) {
    case "client":
      return typedClient();
    case "bare":
      return bareClient();
    case "grpc-js":
      return grpcJsClient();
    case "connect":
      return connectClient();
    default:
      throw new Error(`no client ${kind}`);
  }
}

function typedClient(): Getter {
  const client = connect({ url, env: {} });
  const notes = client.then((open) => open.collection(collectionName, noteDesc));
  return {
    get: async (id) => (await notes).get(id),
    close: () => void client.then((open) => open.close()),
  };
}

/** The least that `node:http2` can do as a client of gRPC, with the messages of generated code. */
function bareClient(): Getter {
  const session = http2.connect(url);
  const headers = {
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
  };
  return {
    get: (id) =>
      new Promise((resolve, reject) => {
        const request = create(GetRequestSchema, { collectionName, id });
        const stream = session.request(headers);
        const chunks: Buffer[] = [];
        stream.on("data", (chunk: Buffer) => chunks.push(chunk));
        stream.on("end", () => {
          const [first = Buffer.alloc(0)] = chunks;
          const bytes = chunks.length === 1 ? first : Buffer.concat(chunks);
          resolve(noteIn(fromBinary(GetResponseSchema, bytes.subarray(5))));
        });
        stream.on("error", reject);
        stream.end(encodeFrame(toBinary(GetRequestSchema, request)));
      }),
    close: () => session.close(),
  };
}

function grpcJsClient(): Getter {
  const client = new grpc.Client(new URL(url).host, grpc.credentials.createInsecure());
  const encode = (id: string): Buffer =>
    Buffer.from(toBinary(GetRequestSchema, create(GetRequestSchema, { collectionName, id })));
  const decode = (bytes: Buffer) => noteIn(fromBinary(GetResponseSchema, bytes));
  return {
    get: (id) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(path, encode, decode, id, (error, answer) => {
          if (error === null) resolve(answer);
          else reject(error);
        });
      }),
    close: () => client.close(),
  };
}

/** The same transport as the client's of generated code has. */
function connectClient(): Getter {
  const transport = createGrpcTransport({ baseUrl: url, acceptCompression: [] });
  const service = createClient(CollectionService, transport);
  return {
    get: async (id) => noteIn(await service.get({ collectionName, id })),
    close: () => undefined,
  };
}

function noteIn(response: GetResponse): Message {
  return fromBinary(noteDesc, response.item?.value ?? new Uint8Array());
}

const getter = createGetter();

async function run(count: number): Promise<void> {
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await getter.get(recordId(next % Number(records)));
    }
  };
  await Promise.all(Array.from({ length: Number(inFlight) }, work));
}

await run(Math.ceil(Number(calls) / 3));
const before = process.cpuUsage();
await run(Number(calls));
const { user, system } = process.cpuUsage(before);
console.log((user + system) / Number(calls));
getter.close();
