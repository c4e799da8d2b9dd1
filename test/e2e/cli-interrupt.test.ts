import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import type { Operation } from "../../src/gen/collector/operations_pb.ts";
import { openCollector, type TestCollector } from "../support/pricing.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

describe("work that a command has begun at the server", () => {
  /** Takes connections, and never says a word. */
  let silent: Server;
  let server: TestCollector;
  let client: TestClient;
  let fetching: string;
  const sockets = new Set<Socket>();

  before(async () => {
    silent = createServer((socket) => sockets.add(socket.on("error", () => undefined)));
    silent.listen(0, "127.0.0.1");
    await once(silent, "listening");
    server = await openCollector();
    client = new TestClient(server.url);
    const { port } = silent.address() as AddressInfo;
    fetching = `fetch 127.0.0.1:${port} notes`;
  });

  after(async () => {
    for (const socket of sockets) socket.destroy();
    silent.close();
    client[Symbol.dispose]();
    await server[Symbol.asyncDispose]();
  });

  /** Ends a command that fetches, in a way, once the server has begun. @returns what it ends with */
  async function endedBy(child: ChildProcess, end: () => void): Promise<readonly unknown[]> {
    const exited = once(child, "exit", { signal: AbortSignal.timeout(20_000) });
    let operation: Operation | undefined;
    await waitUntil("it is under way", 20_000, async () => {
      const { operations } = await client.operations.listOperations({ kind: "fetch" });
      operation = operations.find(({ done }) => !done);
      return operation !== undefined;
    });
    end();
    const how = await exited;
    await waitUntil("it is cancelled", 10_000, async () => {
      operation = await client.operations.getOperation({ name: operation?.name ?? "" });
      return operation.done;
    });
    const { result } = operation ?? {};
    assert.equal(result?.case === "error" && result.value.code, Code.Canceled);
    return how;
  }

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    it(`is cancelled by ${signal}`, async () => {
      const args = [main, ...fetching.split(" "), "--url", server.url];
      const child = spawn(process.execPath, args, { stdio: "ignore" });
      const end = (): void => void child.kill(signal);
      assert.deepEqual(await endedBy(child, end), [130, null]);
    });
  }

  it("is cancelled also if SIGHUP comes more than once, as from a terminal and its shell", async () => {
    const args = [main, ...fetching.split(" "), "--url", server.url];
    const child = spawn(process.execPath, args, { stdio: "ignore" });
    const end = (): void => {
      for (const ms of [0, 3, 6]) setTimeout(() => child.kill("SIGHUP"), ms);
    };
    assert.deepEqual(await endedBy(child, end), [130, null]);
  });

  it("is cancelled when the terminal is closed", async () => {
    const line = `exec "${process.execPath}" "${main}" ${fetching} --url ${server.url}`;
    const terminal = spawn("script", ["-qec", line, "/dev/null"], {
      env: { ...process.env, TERM: "xterm" },
      stdio: ["ignore", "ignore", "ignore"],
    });
    assert.deepEqual(await endedBy(terminal, () => terminal.kill("SIGKILL")), [null, "SIGKILL"]);
  });
});
