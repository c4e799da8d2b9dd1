import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create, type Message } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  type CallOptions,
  Code,
  ConnectError,
  createClient,
  decodeBinaryHeader,
  type Transport,
} from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import { ErrorInfoSchema } from "../../src/gen/google/rpc/error_details_pb.ts";
import {
  echoService,
  type Fixture,
  files,
  openFixture,
  productType,
} from "../support/http-fixture.ts";
import { selfSignedCertificate } from "../support/tls.ts";

interface Answer {
  readonly request?: Message & Readonly<Record<string, unknown>>;
  readonly namespace: string;
  readonly protocol: string;
}

/** The echo service as a typed client sees it; its descriptor is made at run time. */
interface EchoClient {
  unary(request: object, options?: CallOptions): Promise<Answer>;
  pure(request: object, options?: CallOptions): Promise<Answer>;
  serverStream(request: object, options?: CallOptions): AsyncIterable<Answer>;
  clientStream(requests: AsyncIterable<object>, options?: CallOptions): Promise<Answer>;
  bidi(requests: AsyncIterable<object>, options?: CallOptions): AsyncIterable<Answer>;
  fail(request: object, options?: CallOptions): Promise<Answer>;
  wait(request: object, options?: CallOptions): Promise<Answer>;
  nope(request: object, options?: CallOptions): Promise<Answer>;
}

interface Way {
  readonly protocol: "connect" | "grpc-web" | "grpc";
  readonly httpVersion: "1.1" | "2";
  readonly tls: boolean;
  readonly json: boolean;
}

const certificate = selfSignedCertificate();

const ways: Way[] = [];
for (const protocol of ["connect", "grpc-web", "grpc"] as const) {
  for (const httpVersion of ["1.1", "2"] as const) {
    for (const tls of [false, true]) {
      for (const json of [false, true]) {
        // The client's gRPC is a protocol of HTTP/2.
        if (protocol === "grpc" && httpVersion === "1.1") continue;
        ways.push({ protocol, httpVersion, tls, json });
      }
    }
  }
}

function describeWay({ protocol, httpVersion, tls, json }: Way): string {
  return `${protocol} ${json ? "JSON" : "binary"} on HTTP/${httpVersion}${tls ? " with TLS" : ""}`;
}

interface Connected extends AsyncDisposable {
  readonly client: EchoClient;
  readonly fixture: Fixture;
}

async function connect(way: Way): Promise<Connected> {
  const fixture = await openFixture(way.tls ? { port: { tls: certificate } } : {});
  const nodeOptions = way.tls ? { ca: certificate.cert } : {};
  const sessions =
    way.httpVersion === "2" ? new Http2SessionManager(fixture.url, {}, nodeOptions) : undefined;
  const transport = transportOf(way, fixture.url, nodeOptions, sessions);
  return {
    client: createClient(withNope(), transport) as unknown as EchoClient,
    fixture,
    [Symbol.asyncDispose]: async () => {
      sessions?.abort();
      await fixture[Symbol.asyncDispose]();
    },
  };
}

function transportOf(
  way: Way,
  baseUrl: string,
  nodeOptions: object,
  sessionManager: Http2SessionManager | undefined,
): Transport {
  const common = { baseUrl, useBinaryFormat: !way.json, jsonOptions: { registry: files } };
  const options =
    sessionManager === undefined
      ? { ...common, httpVersion: "1.1" as const, nodeOptions }
      : { ...common, httpVersion: "2" as const, sessionManager };
  if (way.protocol === "connect") return createConnectTransport(options);
  if (way.protocol === "grpc-web") return createGrpcWebTransport(options);
  return createGrpcTransport(options);
}

/** The echo service with a method that the server does not have. */
function withNope(): typeof echoService {
  const unary = echoService.methods[0];
  assert.ok(unary);
  const nope = { ...unary, name: "Nope", localName: "nope" };
  return { ...echoService, methods: [...echoService.methods, nope] };
}

/** The error that a call fails with. */
async function failure(call: Promise<unknown>): Promise<ConnectError> {
  try {
    await call;
  } catch (error) {
    return ConnectError.from(error);
  }
  return assert.fail("the call succeeded");
}

async function* each(...items: object[]): AsyncIterable<object> {
  yield* items;
}

async function all(answers: AsyncIterable<Answer>): Promise<Answer[]> {
  const items: Answer[] = [];
  for await (const item of answers) items.push(item);
  return items;
}

const item = anyPack(productType, create(productType, { title: "t", priceCents: 5n }));
const big = { namespace: "shop", item, bigNumber: 9223372036854775807n, text: "ü😀" };

for (const way of ways) {
  describe(describeWay(way), () => {
    it("carries all kinds of calls, in the caller's namespace", async () => {
      await using connected = await connect(way);
      const { client } = connected;
      const one = await client.unary(big);
      assert.equal(one.protocol, way.protocol);
      assert.equal(one.namespace, "shop");
      assert.equal(one.request?.["bigNumber"], 9223372036854775807n);
      assert.equal(one.request?.["text"], "ü😀");
      assert.deepEqual(one.request?.["item"], item);

      const many = await all(client.serverStream({ ...big, count: 3 }));
      assert.deepEqual(
        many.map(({ request }) => request?.["item"]),
        [item, item, item],
      );
      assert.deepEqual(await all(client.serverStream({ count: 0 })), []);

      const headers = { "x-collector-namespace": "shop" };
      const last = await client.clientStream(each({ text: "a" }, big), { headers });
      assert.equal(last.request?.["count"], 2);
      assert.equal(last.namespace, "shop");

      const back = client.bidi(each(big, { text: "b" }), { headers });
      if (way.httpVersion === "1.1") {
        await assert.rejects(all(back), { code: Code.Unimplemented });
      } else {
        assert.deepEqual(
          (await all(back)).map(({ request }) => request?.["text"]),
          ["ü😀", "b"],
        );
      }
    });

    it("carries metadata both ways and strips what is ours", async () => {
      await using connected = await connect(way);
      let header = new Headers();
      let trailer = new Headers();
      const answer = await connected.client.unary(
        {},
        {
          headers: { "x-user": "ada", "x-collector-hops": "3", "x-data-bin": "AQID" },
          onHeader: (h) => {
            header = h;
          },
          onTrailer: (t) => {
            trailer = t;
          },
        },
      );
      const { metadata } = answer as unknown as { metadata: Record<string, string> };
      assert.equal(metadata["x-user"], "ada");
      assert.equal(metadata["x-data-bin"], "AQID");
      assert.equal(metadata["x-collector-hops"], undefined);
      assert.equal(header.get("x-echo"), "header");
      const value = trailer.get("x-echo-bin");
      assert.deepEqual(decodeBinaryHeader(value ?? ""), new Uint8Array([1, 2, 3]));
    });

    it("carries errors with their details, and nothing of a bug but an id", async () => {
      await using connected = await connect(way);
      const { client, fixture } = connected;
      const error = await failure(client.fail({ text: "RECORD_NOT_FOUND" }));
      assert.equal(error.code, Code.NotFound);
      assert.equal(error.rawMessage, "as asked");
      assert.equal(error.findDetails(ErrorInfoSchema)[0]?.reason, "RECORD_NOT_FOUND");

      const bug = await failure(client.fail({}));
      assert.equal(bug.code, Code.Internal);
      assert.doesNotMatch(bug.rawMessage, /secret/);

      const unknown = await failure(client.nope({}));
      assert.equal(unknown.code, Code.Unimplemented);
      assert.match(unknown.rawMessage, /echo\.v1\.Echo\/Nope/);
      assert.equal((await client.unary({ text: "still there" })).request?.["text"], "still there");
      assert.deepEqual(
        fixture.logged.map(({ message }) => message),
        ["call failed"],
      );
    });

    it("cancels the handler when the deadline passes", async () => {
      await using connected = await connect(way);
      const error = await failure(connected.client.wait({}, { timeoutMs: 50 }));
      assert.equal(error.code, Code.DeadlineExceeded);
    });
  });
}
