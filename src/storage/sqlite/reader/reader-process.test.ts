import assert from "node:assert/strict";
import { fork } from "node:child_process";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { it } from "node:test";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { siblingModule } from "../../../lib/sibling-module.ts";
import type { ReaderReport, ReaderRequest } from "./messages.ts";

it("a reader that is told late what to read is ready all the same", async () => {
  const reader = fork(fileURLToPath(siblingModule(import.meta.url, "reader-process")), {
    execArgv: [],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "ignore", "ipc", "pipe"],
  });
  try {
    await once(reader, "spawn");
    // Long after its thread came up, as a server does that had no core for a while.
    await wait(1000);
    const reported = once(reader, "message", { signal: AbortSignal.timeout(10_000) });
    const options = { storesFolder: tmpdir(), handlesMax: 1 };
    reader.send({ kind: "start", options } satisfies ReaderRequest);
    assert.deepEqual(await reported, [{ kind: "ready" } satisfies ReaderReport, undefined]);
  } finally {
    reader.kill("SIGKILL");
  }
});
