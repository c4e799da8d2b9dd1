import assert from "node:assert/strict";
import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect } from "node:http2";
import { describe, it } from "node:test";
import { curl } from "../support/curl.ts";
import { openFixture } from "../support/http-fixture.ts";

/** Asks for `/healthz` with headers that fetch would not let through. */
async function ask(
  url: string,
  headers: Record<string, string>,
  method = "GET",
): Promise<{ status: number; headers: Headers; text: string }> {
  const sent = request(`${url}/healthz`, { method, headers });
  sent.end();
  const [response] = (await once(sent, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += String(chunk);
  const entries = Object.entries(response.headers).map(([k, v]): [string, string] => [
    k,
    String(v),
  ]);
  return { status: response.statusCode ?? 0, headers: new Headers(entries), text };
}

describe("A request's Host", () => {
  it("may be localhost, any address, and a name that is configured", async () => {
    await using fixture = await openFixture({ port: { allowedHosts: ["Box.example:50051"] } });
    const fine = [
      "localhost",
      "localhost:1234",
      "app.localhost",
      "127.0.0.1:80",
      "10.0.0.7",
      "[::1]:50051",
      "box.example",
      "BOX.example.:99",
    ];
    for (const host of fine) assert.equal((await ask(fixture.url, { host })).status, 200, host);
  });

  it("of another name is refused with the reason, over HTTP/1.1 and HTTP/2", async () => {
    await using fixture = await openFixture();
    for (const host of [
      "evil.example",
      "127.0.0.1.evil.example",
      "localhost.evil.example",
      "x@y",
    ]) {
      const answer = await ask(fixture.url, { host });
      assert.equal(answer.status, 403, host);
      assert.match(answer.text, /"permission_denied".*allowedHosts/);
    }
    const url = `${fixture.url}/healthz`;
    const answer = await curl("--http2-prior-knowledge", "-H", "host: evil.example", url);
    assert.equal(answer.status, 403);
  });

  it("of an RPC is checked before the call is looked at", async () => {
    await using fixture = await openFixture();
    const url = `${fixture.url}/echo.v1.Echo/Unary`;
    const json = ["-H", "content-type: application/json", "-d", "{}"];
    assert.equal((await curl("-H", "host: evil.example", ...json, url)).status, 403);
    const open = await openFixture({ port: { allowedHosts: ["*"] } });
    await using _open = open;
    const any = `${open.url}/echo.v1.Echo/Unary`;
    assert.equal((await curl("-H", "host: evil.example", ...json, any)).status, 200);
  });

  it("is not asked of gRPC, which no browser can speak: a client may know us by any name", async () => {
    await using fixture = await openFixture();
    const session = connect(fixture.url);
    const stream = session.request({
      ":method": "POST",
      ":path": "/grpc.health.v1.Health/Check",
      ":authority": "collector.internal",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.end(Buffer.from([0, 0, 0, 0, 0]));
    stream.resume();
    const { promise, resolve } = Promise.withResolvers<unknown>();
    stream.on("trailers", (trailers) => {
      resolve(trailers["grpc-status"]);
    });
    assert.equal(await promise, "0");
    session.destroy();
  });
});

describe("A page's Origin", () => {
  it("is refused unless it is the server's own", async () => {
    await using fixture = await openFixture();
    const host = `localhost:${fixture.port.port}`;
    assert.equal((await ask(fixture.url, { host, origin: `http://${host}` })).status, 200);
    for (const origin of [
      "http://evil.example",
      "null",
      `http://localhost:${fixture.port.port + 1}`,
      `http://127.0.0.1:${fixture.port.port}`,
      "nonsense",
    ]) {
      const answer = await ask(fixture.url, { host, origin });
      assert.equal(answer.status, 403, origin);
      assert.match(answer.text, /allowedOrigins/);
      assert.equal(answer.headers.get("access-control-allow-origin"), null);
    }
  });

  it("that is configured may call, after a preflight", async () => {
    const origin = "https://app.example";
    await using fixture = await openFixture({ port: { allowedOrigins: [origin] } });
    const preflight = await ask(
      fixture.url,
      {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,connect-timeout-ms,x-mine",
      },
      "OPTIONS",
    );
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers.get("access-control-allow-origin"), origin);
    assert.equal(preflight.headers.get("vary"), "Origin");
    assert.match(preflight.headers.get("access-control-allow-methods") ?? "", /POST/);
    const headers = (preflight.headers.get("access-control-allow-headers") ?? "").toLowerCase();
    for (const name of [
      "content-type",
      "x-grpc-web",
      "connect-timeout-ms",
      "x-collector-namespace",
      "x-mine",
    ]) {
      assert.ok(headers.includes(name), name);
    }

    const response = await fetch(`${fixture.url}/echo.v1.Echo/Unary`, {
      method: "POST",
      headers: { "content-type": "application/json", origin },
      body: "{}",
    });
    assert.equal(response.status, 200);
    assert.equal(response.headers.get("access-control-allow-origin"), origin);
    assert.match(response.headers.get("access-control-expose-headers") ?? "", /grpc-status/i);
    assert.equal((await ask(fixture.url, { origin: "https://other.example" })).status, 403);
  });
});
