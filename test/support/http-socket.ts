import assert from "node:assert/strict";
import { connect, type Socket } from "node:net";
import type { Fixture } from "./http-fixture.ts";

/** Proves that the next honest caller is served. */
export async function serves(fixture: Fixture): Promise<void> {
  const response = await fetch(`${fixture.url}/echo.v1.Echo/Unary`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: '{"text":"honest"}',
  });
  assert.match(await response.text(), /honest/);
}

export function dial(fixture: Fixture): Socket {
  const socket = connect(fixture.port.port, "127.0.0.1");
  socket.on("error", () => undefined);
  return socket;
}

/** What a connection receives until it is closed. */
export async function received(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  // Not `once`: it rejects on "error", which a connection that is cut off may see first.
  if (!socket.closed) await new Promise((resolve) => socket.on("close", resolve));
  return Buffer.concat(chunks).toString("latin1");
}
