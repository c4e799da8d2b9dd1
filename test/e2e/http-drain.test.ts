import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { connect, createServer } from "node:net";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcTransport } from "@connectrpc/connect-node";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../src/gen/grpc/health/v1/health_pb.ts";
import { PortTakenError } from "../../src/rpc/http/port.ts";
import { echoService, type Fixture, openFixture } from "../support/http-fixture.ts";

/** A client-streaming call that is in flight until `finish`. */
function openUpload(fixture: Fixture) {
  const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
  const message = Buffer.from('\0\0\0\0\x0c{"text":"a"}', "latin1");
  const body = new ReadableStream({
    pull: async (controller) => {
      controller.enqueue(message);
      await finished;
      controller.close();
    },
  });
  const answer = fetch(`${fixture.url}/echo.v1.Echo/ClientStream`, {
    method: "POST",
    headers: { "content-type": "application/connect+json" },
    body,
    duplex: "half",
  });
  return { answer, finish };
}

describe("Closing a port", () => {
  it("lets calls in flight finish, over HTTP/1.1 and HTTP/2, and takes no new connection", async () => {
    await using fixture = await openFixture();
    const upload = openUpload(fixture);
    const session = connectHttp2(fixture.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/echo.v1.Echo/ClientStream",
      "content-type": "application/connect+json",
    });
    stream.write(Buffer.from('\0\0\0\0\x0c{"text":"a"}', "latin1"));
    while (fixture.seen.messages < 2) await sleep(5);
    const goaway = once(session, "goaway");

    const closed = fixture.port.close({ drainMs: 10_000 });
    await goaway;
    const late = connect(fixture.port.port, "127.0.0.1");
    // Refused, or reset if it was waiting to be accepted; never served.
    late.on("data", assert.fail);
    await assert.rejects(once(late, "end"), /ECONNREFUSED|ECONNRESET/);
    upload.finish();
    const answer = await upload.answer;
    assert.match(await answer.text(), /"count":1/);
    let text = "";
    stream.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
    });
    stream.end();
    await once(stream, "close");
    assert.match(text, /"count":1/);
    await closed;
    assert.ok(session.closed || session.destroyed);
  });

  it("closes idle connections at once", async () => {
    await using fixture = await openFixture();
    const silent = connect(fixture.port.port, "127.0.0.1");
    await once(silent, "connect");
    const session = connectHttp2(fixture.url);
    await once(session, "remoteSettings");
    const kept = await fetch(`${fixture.url}/healthz`);
    await kept.text();
    const start = performance.now();
    await fixture.port.close({ drainMs: 60_000 });
    assert.ok(performance.now() - start < 10_000);
    session.destroy();
    silent.destroy();
  });

  it("cancels what is left when the time is up, and says why", async () => {
    await using fixture = await openFixture();
    const { port } = fixture;
    const connects = createConnectTransport({ baseUrl: fixture.url, httpVersion: "1.1" });
    const grpc = createGrpcTransport({ baseUrl: fixture.url });
    const calls = [connects, grpc].map((transport) => {
      const client = createClient(echoService, transport) as unknown as {
        wait(request: object): Promise<unknown>;
      };
      return client.wait({}).then(
        () => assert.fail("the call succeeded"),
        (error: unknown) => ConnectError.from(error),
      );
    });
    while (fixture.seen.messages < 2) await sleep(5);
    await port.close({ drainMs: 100 });
    for (const error of await Promise.all(calls)) {
      assert.equal(error.code, Code.Unavailable, error.message);
      assert.match(error.rawMessage, /shut/);
    }
  });

  it("says NOT_SERVING to those who watch, and ends their streams", async () => {
    await using fixture = await openFixture();
    const client = createClient(Health, createGrpcTransport({ baseUrl: fixture.url }));
    const seen: Status[] = [];
    const watching = (async () => {
      for await (const { status } of client.watch({})) seen.push(status);
    })();
    while (seen.length === 0) await sleep(5);
    const closed = fixture.port.close({ drainMs: 10_000 });
    await assert.rejects(watching, { code: Code.Unavailable });
    assert.deepEqual(seen, [Status.SERVING, Status.NOT_SERVING]);
    await closed;
  });

  it("twice is closing once", async () => {
    await using fixture = await openFixture();
    await Promise.all([fixture.port.close({ drainMs: 10 }), fixture.port.close({ drainMs: 10 })]);
  });
});

describe("Opening a port", () => {
  it("that is taken says so by host and port", async () => {
    const other = createServer();
    other.listen(0, "127.0.0.1");
    await once(other, "listening");
    const address = other.address();
    assert.ok(typeof address === "object" && address !== null);
    await assert.rejects(openFixture({ port: { port: address.port } }), (error) => {
      assert.ok(error instanceof PortTakenError);
      assert.equal(error.port, address.port);
      assert.equal(error.host, "127.0.0.1");
      assert.match(error.message, /is taken/);
      return true;
    });
    other.close();
  });

  it("with a certificate that is none says so", async () => {
    await assert.rejects(openFixture({ port: { tls: { cert: "no", key: "no" } } }), {
      reason: "ARGUMENT_INVALID",
      message: /^tls: certificate and key cannot be used/,
    });
  });
});
