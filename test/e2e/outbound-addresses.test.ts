import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { defaultLimits } from "../../src/lib/limits.ts";
import { encodeFrame } from "../../src/rpc/grpc/frame.ts";
import { PeerDialer } from "../../src/rpc/outbound/dialer.ts";
import { openRawServer } from "../support/outbound.ts";

const empty = new Uint8Array();

async function textOf(run: () => Promise<unknown>): Promise<string> {
  try {
    await run();
  } catch (error) {
    assert.ok(error instanceof Error);
    assert.equal((error as { reason?: string }).reason, "PEER_DENIED", error.message);
    return error.message.replace(/^endpoint: /, "");
  }
  return "allowed";
}

describe("an endpoint that a caller names", () => {
  it("is refused with one text if it is not in the list, whatever it is", async () => {
    await using dialer = new PeerDialer({
      peers: ["10.9.0.0/16", "listed.example"],
      allowsLoopback: false,
      // What an attacker's name servers say.
      resolve: (host) =>
        host === "nowhere.example"
          ? Promise.reject(new Error("no such name"))
          : Promise.resolve([{ address: "::ffff:127.0.0.1", family: 6 }]),
      limits: defaultLimits,
    });
    const endpoints = [
      "http://2130706433:2379",
      "0x7f.1:80",
      "[::ffff:127.0.0.1]:6379",
      "169.254.169.254:80",
      "unix:///run/x.sock",
      "127.0.0.1:50051",
      "localhost:50051",
      "rebound.example:80",
      "listed.example:80",
      "nowhere.example:80",
      "10.8.0.1:80",
    ];
    const texts = new Set<string>();
    for (const endpoint of endpoints) {
      texts.add(
        await textOf(async () => {
          await using channel = dialer.dial(endpoint, "endpoint");
          await channel.unary("/a/B", empty);
        }),
      );
    }
    assert.equal(texts.size, 1, [...texts].join("\n"));
    assert.ok(!texts.has("allowed"));
  });

  it("is connected at the address that was checked, though its name has another by now", async () => {
    await using server = await openRawServer((stream) => {
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(encodeFrame(empty));
    });
    let asked = 0;
    await using dialer = new PeerDialer({
      peers: [`127.0.0.1:${server.port}`],
      allowsLoopback: false,
      resolve: () => {
        asked += 1;
        const address = asked === 1 ? "127.0.0.1" : "127.0.0.2";
        return Promise.resolve([{ address, family: 4 }]);
      },
      limits: defaultLimits,
    });
    await using channel = dialer.dial(`rebinding.example:${server.port}`, "endpoint");
    await channel.unary("/a/B", empty);
    assert.equal(asked, 1);
    for (const session of server.sessions) session.destroy();
    assert.equal(
      (await textOf(async () => {
        for (let i = 0; i < 100; i += 1) {
          await channel.unary("/a/B", empty).catch((error: unknown) => {
            if ((error as { reason?: string }).reason === "PEER_DENIED") throw error;
          });
        }
      })) === "allowed",
      false,
    );
    assert.equal(asked, 2);
  });
});
