import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { CollectorError } from "../errors.ts";
import { createArchives } from "./archive-pool.ts";

/** Of zeros, on no disk: to pack it takes seconds. */
const largeBytes = 4 * 1024 ** 3;

interface Bench extends AsyncDisposable {
  /** Packs a file of the folder. */
  pack(
    name: string,
    signal?: AbortSignal,
  ): { readonly begun: Promise<void>; readonly end: Promise<unknown> };
  manifest(name: string): Promise<unknown>;
  unpack(name: string): Promise<unknown>;
}

async function openBench(): Promise<Bench> {
  const folder = await mkdtemp(join(tmpdir(), "collector-threads-"));
  await writeFile(join(folder, "small"), "a row");
  await writeFile(join(folder, "large"), "");
  await truncate(join(folder, "large"), largeBytes);
  const archives = createArchives({ threads: 1 });
  const archive = (name: string): string => join(folder, `${name}.collector`);
  return {
    pack(name, signal) {
      const begun = Promise.withResolvers<void>();
      const end = archives.pack({
        path: archive(name),
        manifest: {},
        parts: [{ name: "database", path: join(folder, name) }],
        recipients: [],
        signal,
        onProgress: () => begun.resolve(),
      });
      return { begun: begun.promise, end };
    },
    manifest: (name) => archives.manifest(archive(name), []),
    unpack: (name) => archives.unpack({ path: archive(name), identities: [], targets: new Map() }),
    async [Symbol.asyncDispose]() {
      await archives[Symbol.asyncDispose]();
      await rm(folder, { recursive: true });
    },
  };
}

/** How many threads begin meanwhile. */
async function threadsOf(work: () => Promise<unknown>): Promise<number> {
  let threads = 0;
  const count = (): void => {
    threads += 1;
  };
  subscribe("worker_threads", count);
  try {
    await work();
  } finally {
    unsubscribe("worker_threads", count);
  }
  return threads;
}

function isCancelled(error: unknown): boolean {
  return error instanceof CollectorError && error.reason === "CANCELLED";
}

describe("Threads for archives", () => {
  it("read manifests past the long work, of which there is so much at a time", async () => {
    await using bench = await openBench();
    await bench.pack("small").end;
    const controller = new AbortController();
    const large = bench.pack("large", controller.signal);
    await large.begun;
    const behind = bench.unpack("small");
    let isBehindDone = false;
    behind.then(
      () => {
        isBehindDone = true;
      },
      () => undefined,
    );
    const threads = await threadsOf(async () => {
      await bench.manifest("small");
      await bench.manifest("small");
    });
    assert.equal(threads, 1);
    assert.equal(isBehindDone, false);
    controller.abort();
    await assert.rejects(large.end, isCancelled);
    await behind;
  });

  it("are as few as the work needs at a time", async () => {
    await using bench = await openBench();
    const threads = await threadsOf(async () => {
      await bench.pack("small").end;
      await bench.manifest("small");
      await bench.unpack("small");
    });
    assert.equal(threads, 1);
  });
});
