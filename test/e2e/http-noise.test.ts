import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2 } from "node:http2";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as fc from "fast-check";
import { openFixture } from "../support/http-fixture.ts";
import { dial, received, serves } from "../support/http-socket.ts";

describe("What a request asks for", () => {
  it("may be any text: it is answered, and the process lives", async () => {
    await using fixture = await openFixture();
    const session = connectHttp2(fixture.url);
    const part = fc.oneof(
      fc.constantFrom(
        "/",
        "\\",
        "[",
        "]",
        "?",
        "%",
        "%2f",
        "#",
        "@",
        ":",
        "..",
        "files",
        "http:",
        "a.B",
      ),
      fc.stringMatching(/^[!-~]{0,4}$/),
    );
    const texts = fc.array(part, { maxLength: 8 }).map((parts) => `/${parts.join("")}`);
    const kinds = fc.constantFrom(
      ["GET", ""],
      ["POST", "application/json"],
      ["POST", "application/grpc-web"],
      ["PUT", ""],
    );
    const ask = async (target: string, [method = "", type = ""]: readonly string[]) => {
      const socket = dial(fixture);
      const header = type === "" ? "" : `content-type: ${type}\r\n`;
      socket.end(
        `${method} ${target} HTTP/1.1\r\nhost: localhost\r\n${header}content-length: 2\r\nconnection: close\r\n\r\n{}`,
      );
      assert.match(await received(socket), /^HTTP\/1\.1 [2-5]\d\d /, target);
      const headers = { ":method": method, ":path": target };
      const withType = type === "" ? headers : { ...headers, "content-type": type };
      const stream = session.request(withType, { endStream: false });
      const responded = once(stream, "response");
      stream.resume();
      stream.end("{}");
      await responded;
    };
    await ask("/\\[/b", ["GET", ""]);
    await ask("/\\[/b", ["POST", "application/json"]);
    await fc.assert(fc.asyncProperty(texts, kinds, ask), { numRuns: 200 });
    session.destroy();
    assert.deepEqual(
      fixture.logged.filter(({ level }) => level === "error"),
      [],
    );
  });
});

describe("The first bytes of a connection", () => {
  it("may be anything: the process lives and serves the next one", async () => {
    await using fixture = await openFixture({ limits: { streamIdleMs: 30 } });
    const start = fc.constantFrom(
      "",
      "PRI ",
      "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
      "GET / HTTP/1.1\r\n",
      "POST /a.B/C HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n",
      "\x16\x03\x01",
      "PUT",
    );
    await fc.assert(
      fc.asyncProperty(start, fc.uint8Array({ maxLength: 64 }), async (text, bytes) => {
        const socket = dial(fixture);
        socket.write(Buffer.concat([Buffer.from(text, "latin1"), bytes]));
        await sleep(1);
        socket.end();
        await received(socket);
      }),
      { numRuns: 60 },
    );
    await serves(fixture);
    assert.deepEqual(
      fixture.logged.filter(({ level }) => level === "error"),
      [],
    );
  });

  it("may come one by one", async () => {
    await using fixture = await openFixture();
    const text = "GET /healthz HTTP/1.1\r\nhost: a.localhost\r\nconnection: close\r\n\r\n";
    const socket = dial(fixture);
    socket.setNoDelay(true);
    const answer = received(socket);
    for (const char of text) {
      socket.write(char);
      await sleep(1);
    }
    assert.match(await answer, /200 OK.*ok\n$/s);
  });
});
