import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { gunzipSync, gzipSync } from "node:zlib";
import { curl } from "../support/curl.ts";
import { type Fixture, openFixture } from "../support/http-fixture.ts";

const json = ["-H", "content-type: application/json"];
const shopUrl = "type.googleapis.com/shop.v1.Product";
const opaque = { "@type": "type.googleapis.com/un.Known", value: "AQI=" };

interface ConnectFailure {
  readonly code: string;
  readonly message: string;
  readonly details: readonly { readonly type: string; readonly debug: Record<string, unknown> }[];
}

async function post(fixture: Fixture, method: string, body: unknown, headers: object = {}) {
  const response = await fetch(`${fixture.url}/echo.v1.Echo/${method}`, {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, unknown> };
}

/** The refusal of a call: its HTTP status is 400, and its details name a field. */
async function refusal(fixture: Fixture, body: unknown, headers: object = {}): Promise<string> {
  const answer = await post(fixture, "Unary", body, headers);
  assert.equal(answer.status, 400, JSON.stringify(answer.json));
  const failure = answer.json as unknown as ConnectFailure;
  assert.equal(failure.code, "invalid_argument");
  const bad = failure.details.find(({ type }) => type === "google.rpc.BadRequest");
  const violations = bad?.debug["fieldViolations"] as { readonly field: string }[] | undefined;
  return violations?.[0]?.field ?? failure.message;
}

describe("JSON by curl", () => {
  for (const flag of ["--http1.1", "--http2-prior-knowledge"]) {
    it(`writes and reads an Any of a type registered at run time, ${flag.slice(2)}`, async () => {
      await using fixture = await openFixture();
      const item = { "@type": shopUrl, title: "Espresso", priceCents: "9223372036854775807" };
      const body = JSON.stringify({ namespace: "shop", item });
      const answer = await curl(flag, ...json, "-d", body, `${fixture.url}/echo.v1.Echo/Unary`);
      assert.equal(answer.status, 200, answer.text);
      assert.equal(answer.headers.get("content-type"), "application/json");
      assert.deepEqual((JSON.parse(answer.text) as { item: object }).item, item);
    });
  }

  it("says how to call to who forgot the content type, the body or the method", async () => {
    await using fixture = await openFixture();
    const url = `${fixture.url}/echo.v1.Echo/Unary`;
    const form = await curl("-d", "{}", url);
    assert.equal(form.status, 415);
    assert.match(form.text, /application\/json/);
    assert.equal((await curl(url)).status, 405);
    assert.equal((await curl(...json, "-d", "", url)).status, 400);
    assert.equal((await curl(...json, "-d", "{}", `${fixture.url}/nowhere`)).status, 404);
    const unknown = await curl(...json, "-d", "{}", `${fixture.url}/no.Such/Method`);
    assert.equal(unknown.status, 501);
    assert.match(unknown.text, /"code":"unimplemented".*no\.Such\/Method is not served here/);
  });

  it("calls a method without side effects by GET", async () => {
    await using fixture = await openFixture();
    const query = new URLSearchParams({
      encoding: "json",
      message: '{"text":"q"}',
      connect: "v1",
    }).toString();
    const pure = await curl(`${fixture.url}/echo.v1.Echo/Pure?${query}`);
    assert.equal(pure.status, 200, pure.text);
    assert.match(pure.text, /"text":"q"/);
    assert.equal((await curl(`${fixture.url}/echo.v1.Echo/Unary?${query}`)).status, 405);
  });

  it("compresses a long answer for who asks, and only then", async () => {
    await using fixture = await openFixture();
    const url = `${fixture.url}/echo.v1.Echo/Unary`;
    const body = JSON.stringify({ text: "a".repeat(10_000) });
    assert.equal((await curl(...json, "-d", body, url)).headers.get("content-encoding"), null);
    const packed = await curl("--compressed", ...json, "-d", body, url);
    assert.equal(packed.headers.get("content-encoding"), "gzip");
    assert.ok(Number(packed.headers.get("content-length")) < 1000);
    assert.match(packed.text, /a{10000}/);
    const sent = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", "content-encoding": "gzip" },
      body: gzipSync(body),
    });
    assert.match(await sent.text(), /a{10000}/);
  });
});

describe("An Any in JSON", () => {
  it("has the types of the call's namespace: the field's, the reference's, the header's", async () => {
    await using fixture = await openFixture();
    const item = { "@type": shopUrl, title: "t" };
    const ways: [object, Record<string, string>][] = [
      [{ namespace: "shop", item }, {}],
      [{ item }, { "x-collector-namespace": "shop" }],
      [{ namespace: "shop", item }, { "x-collector-namespace": "shop" }],
    ];
    for (const [body, headers] of ways) {
      const answer = await post(fixture, "Unary", body, headers);
      assert.deepEqual(answer.json["item"], item);
    }
    assert.equal(await refusal(fixture, { item }), "item.@type");
    assert.equal(
      await refusal(fixture, { namespace: "shop" }, { "x-collector-namespace": "other" }),
      "namespace",
    );
  });

  it("is readable as soon as its type is registered", async () => {
    await using fixture = await openFixture();
    const item = { "@type": shopUrl, title: "t" };
    assert.equal(await refusal(fixture, { namespace: "new", item }), "item.@type");
    fixture.types.register("new", fixture.types.snapshot("shop").types as never);
    const answer = await post(fixture, "Unary", { namespace: "new", item });
    assert.deepEqual(answer.json["item"], item);
  });

  it("of an unknown type is base64 in both directions, nested in a known one too", async () => {
    await using fixture = await openFixture();
    const item = { "@type": shopUrl, title: "t", extra: opaque };
    const answer = await post(fixture, "Unary", { namespace: "shop", item, items: [opaque] });
    assert.deepEqual(answer.json["item"], item);
    assert.deepEqual((answer.json["request"] as { items: object[] }).items, [opaque]);
  });

  it("has the types of the namespace in every message of a stream", async () => {
    await using fixture = await openFixture();
    const body = JSON.stringify({ count: 2, item: { "@type": shopUrl, title: "t" } });
    const response = await fetch(`${fixture.url}/echo.v1.Echo/ServerStream`, {
      method: "POST",
      headers: { "content-type": "application/connect+json", "x-collector-namespace": "shop" },
      body: envelope(body),
    });
    const messages = envelopes(Buffer.from(await response.arrayBuffer()));
    assert.equal(messages.length, 3);
    for (const message of messages.slice(0, 2)) assert.match(message, /"title":"t"/);
    assert.equal(messages[2], "{}");
  });
});

describe("Bad JSON", () => {
  it("is refused by the path of what is wrong", async () => {
    await using fixture = await openFixture();
    const shop = { namespace: "shop" };
    assert.equal(await refusal(fixture, { txt: "x" }), "txt");
    assert.equal(await refusal(fixture, { child: { child: { cuont: 1 } } }), "child.child.cuont");
    const misspelt = { ...shop, items: [{ "@type": shopUrl, titel: "x" }] };
    assert.equal(await refusal(fixture, misspelt), "items[0].titel");
    assert.equal(await refusal(fixture, { count: "many" }), "count");
    assert.equal(await refusal(fixture, '{"text":"\\ud800"}'), "text");
    assert.match(await refusal(fixture, "{"), /is not JSON/);
    assert.match(await refusal(fixture, ""), /is not JSON/);
    assert.match(await refusal(fixture, '{"text":"a","text":"b"}'), /twice/);
    assert.match(await refusal(fixture, "[".repeat(100_000)), /nested more than 64 deep/);
    assert.equal(await refusal(fixture, '{"__proto__":{"text":"x"}}'), "__proto__");
    assert.deepEqual(fixture.logged, []);
  });

  it("in another encoding than UTF-8 is refused", async () => {
    await using fixture = await openFixture();
    const response = await fetch(`${fixture.url}/echo.v1.Echo/Unary`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: Buffer.from('{"text":"\xff"}', "latin1"),
    });
    assert.equal(response.status, 400);
    assert.match(await response.text(), /no valid UTF-8/);
  });

  it("in a stream fails the stream and names the path", async () => {
    await using fixture = await openFixture();
    const response = await fetch(`${fixture.url}/echo.v1.Echo/ClientStream`, {
      method: "POST",
      headers: { "content-type": "application/connect+json" },
      body: Buffer.concat([envelope('{"text":"a"}'), envelope('{"txt":"b"}')]),
    });
    const [end] = envelopes(Buffer.from(await response.arrayBuffer()));
    assert.match(end ?? "", /"code":"invalid_argument","message":"txt: /);
  });

  it("keeps int64 exact and a map's keys harmless", async () => {
    await using fixture = await openFixture();
    const body =
      '{"bigNumber":-9223372036854775808,"bigNumbers":[18446744073709551615,9007199254740993],' +
      '"labels":{"__proto__":"p","constructor":"c"}}';
    const { json: answer } = await post(fixture, "Unary", body);
    const request = answer["request"] as Record<string, unknown>;
    assert.equal(request["bigNumber"], "-9223372036854775808");
    assert.deepEqual(request["bigNumbers"], ["18446744073709551615", "9007199254740993"]);
    const labels = Object.entries(request["labels"] as object);
    assert.deepEqual(
      new Map(labels),
      new Map([
        ["__proto__", "p"],
        ["constructor", "c"],
      ]),
    );
  });
});

describe("gRPC-Web", () => {
  it("is served in its text form, with padding inside the body", async () => {
    await using fixture = await openFixture();
    // Field 1 of the request, `text`, is "hi"; the envelope's parts are encoded one by one.
    const message = Buffer.from([0x0a, 2, 0x68, 0x69]);
    const head = Buffer.from([0, 0, 0, 0, message.length]).toString("base64");
    const response = await fetch(`${fixture.url}/echo.v1.Echo/Unary`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web-text" },
      body: head + message.toString("base64"),
    });
    assert.equal(response.headers.get("content-type"), "application/grpc-web-text+proto");
    const parts = (await response.text()).match(/[^=]+={0,2}/g) ?? [];
    const body = Buffer.concat(parts.map((part) => Buffer.from(part, "base64")));
    assert.match(body.toString("latin1"), /hi.*grpc-web.*grpc-status: 0/s);
  });
});

function envelope(text: string): Buffer {
  const body = Buffer.from(text);
  const head = Buffer.alloc(5);
  head.writeUInt32BE(body.length, 1);
  return Buffer.concat([head, body]);
}

/** The texts of a body's envelopes, unpacked if they are packed. */
function envelopes(body: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    const bytes = body.subarray(at + 5, end);
    texts.push(((body[at] ?? 0) & 1 ? gunzipSync(bytes) : bytes).toString());
    at = end;
  }
  return texts;
}
