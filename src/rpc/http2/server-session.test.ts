import assert from "node:assert/strict";
import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import { describe, it } from "node:test";
import * as fc from "fast-check";
import { waitUntil } from "../../../test/support/wait.ts";
import type { HeaderList } from "../grpc/server-stream.ts";
import { errorCode, frameFlag, goAwayFrame } from "./frames.ts";
import type { RequestStream } from "./request-stream.ts";
import {
  type Handler,
  headersFrame,
  requestHeaders,
  resetFrame,
  type ScriptedClient,
  scriptedClient,
  sessionServer,
} from "./testing/server-fixture.ts";
import { echo, listener, request } from "./testing/server-handlers.ts";

const { endHeaders, endStream } = frameFlag;
const whole = endHeaders | endStream;

const hello = Buffer.from("hello");

describe("the server's side of HTTP/2, with Node's client", () => {
  it("passes headers and trailers as they are, whatever the client's table holds", async () => {
    const names = fc.oneof(
      fc.constantFrom("x-a", "x-trace-id", "cache-control", "link"),
      fc.stringMatching(/^[a-z][a-z0-9_.-]{0,30}$/).map((name) => `x-${name}`),
    );
    const values = fc.oneof(
      fc.constantFrom("", "no-cache", "x".repeat(300)),
      fc.stringMatching(/^[!-~]([ -~]{0,60}[!-~])?$/),
    );
    const lists = fc.uniqueArray(fc.tuple(names, values), {
      maxLength: 12,
      selector: ([name]) => name,
    });
    for (const headerTableSize of [4096, 100, 0]) {
      let seen: HeaderList = [];
      let down: HeaderList = [];
      await using server = await sessionServer((stream, _headers, raw) => {
        seen = raw;
        const end = (): void =>
          stream.respondWith([":status", "200", ...down], hello, ["x-end", "1", ...down]);
        stream.listen(listener({ onEnd: end }));
      });
      const client = connect(`http://127.0.0.1:${server.port}`, { settings: { headerTableSize } });
      try {
        await fc.assert(
          fc.asyncProperty(lists, lists, async (up, answer) => {
            down = answer.flat();
            const { headers, trailers } = await request(client, Object.fromEntries(up));
            for (const [name, value] of up) {
              const at = seen.findIndex((text, i) => i % 2 === 0 && text === name);
              assert.equal(seen[at + 1], value, name);
            }
            for (const [name, value] of answer) {
              assert.equal(headers[name], value, name);
              assert.equal(trailers[name], value, name);
            }
          }),
          { numRuns: 50 },
        );
      } finally {
        client.destroy();
      }
    }
  });

  it("carries bodies of any size, many at a time, through windows of any size", async () => {
    await using server = await sessionServer(echo);
    for (const initialWindowSize of [1, 1000, 65_535, 4 * 1024 * 1024]) {
      const client = connect(`http://127.0.0.1:${server.port}`, {
        settings: { initialWindowSize },
      });
      const sizeMax = initialWindowSize === 1 ? 300 : 600_000;
      try {
        const sizes = fc.array(fc.integer({ min: 0, max: sizeMax }), {
          minLength: 1,
          maxLength: 8,
        });
        await fc.assert(
          fc.asyncProperty(sizes, async (lengths) => {
            const bodies = lengths.map((length, i) => Buffer.alloc(length, i + 1));
            const answers = await Promise.all(bodies.map((body) => request(client, {}, body)));
            for (const [i, { body, trailers }] of answers.entries()) {
              assert.ok(body.equals(bodies[i] ?? hello), `body ${i}`);
              assert.equal(trailers["x-bytes"], String(lengths[i]));
            }
          }),
          { numRuns: 10 },
        );
      } finally {
        client.destroy();
      }
    }
  });

  it("asks a client to leave, and closes when its calls are done", async () => {
    const open: RequestStream[] = [];
    await using server = await sessionServer((stream) => {
      stream.listen(listener({}));
      open.push(stream);
    });
    const client = connect(`http://127.0.0.1:${server.port}`);
    const goneAway = once(client, "goaway");
    const answer = request(client, {});
    await waitUntil("the request is there", 5000, () => open.length === 1);
    server.sessions[0]?.askToLeave();
    await goneAway;
    open[0]?.respondWith([":status", "200"], hello, ["x-end", "1"]);
    assert.equal((await answer).headers[":status"], 200);
    await waitUntil("the connection is closed", 5000, () => server.sessions.length === 0);
    client.destroy();
  });

  it("resets what is still sent when the answer is complete, and no other stream", async () => {
    await using server = await sessionServer((stream, headers) => {
      if (headers[":path"] === "/early") {
        stream.listen(listener({}));
        stream.respondOnly([":status", "413"]);
      } else echo(stream, headers, []);
    });
    const client = connect(`http://127.0.0.1:${server.port}`);
    const early = client.request({ ":method": "POST", ":path": "/early" });
    early.write(Buffer.alloc(1000));
    const [headers] = (await once(early, "response")) as [IncomingHttpHeaders];
    assert.equal(headers[":status"], 413);
    early.resume();
    await once(early, "close");
    assert.equal(early.rstCode, errorCode.none);
    const { body } = await request(client, {}, Buffer.from("still there"));
    assert.equal(body.toString(), "still there");
    client.destroy();
  });
});

describe("a client of HTTP/2 that leaves", () => {
  const noteClose = (): { readonly handler: Handler; readonly closed: () => number } => {
    let closed = 0;
    const handler: Handler = (stream) =>
      stream.listen(listener({ onClose: () => void (closed += 1) }));
    return { handler, closed: () => closed };
  };

  it("takes its requests along", async () => {
    for (const leave of [
      (client: ScriptedClient) => client.socket.destroy(),
      (client: ScriptedClient) => client.socket.end(),
      (client: ScriptedClient) => client.send(Buffer.alloc(64, 0xff)),
    ]) {
      const { handler, closed } = noteClose();
      await using server = await sessionServer(handler);
      using client = await scriptedClient(server.port);
      client.send(headersFrame(1), headersFrame(3), headersFrame(5));
      await client.isServed();
      leave(client);
      await waitUntil("they are gone", 5000, () => closed() === 3 && server.sessions.length === 0);
    }
  });

  it("is served to the end if it says that it goes", async () => {
    const open: RequestStream[] = [];
    await using server = await sessionServer((stream) => {
      stream.listen(listener({}));
      open.push(stream);
    });
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1, requestHeaders, whole), goAwayFrame(0, errorCode.none));
    await client.isServed();
    open[0]?.respondWith([":status", "200"], hello, ["x-end", "1"]);
    assert.equal(await client.closed(), errorCode.none);
    assert.deepEqual(await client.headersOf(1), [":status", "200"]);
  });

  it("makes what is still said to its streams nothing", async () => {
    const open: RequestStream[] = [];
    let events = "";
    await using server = await sessionServer((stream) => {
      stream.listen(
        listener({
          onClose: () => void (events += "close "),
          onEnd: () => void (events += "end "),
        }),
      );
      open.push(stream);
    });
    using client = await scriptedClient(server.port);
    client.send(headersFrame(1), resetFrame(1));
    await client.isServed();
    const [stream] = open;
    assert.ok(stream?.isClosed);
    stream.respond([":status", "200"]);
    assert.equal(stream.write(hello), false);
    stream.end(["x-end", "1"]);
    stream.respondWith([":status", "200"], hello, []);
    stream.respondOnly([":status", "200"]);
    stream.cancel();
    stream.resume();
    assert.equal(await client.isServed(), true);
    assert.equal(
      client.frames.some(({ streamId }) => streamId === 1),
      false,
    );
    assert.equal(events, "close ");
  });
});
