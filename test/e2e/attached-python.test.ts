import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create, type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { connect } from "../../src/client/client.ts";
import { file_collector_service_hosts } from "../../src/gen/collector/service_hosts_pb.ts";
import { each, openCollector, pricingClient } from "../support/pricing.ts";

/** Debian's, which has the modules; another Python in the PATH may not. */
const python = "/usr/bin/python3";
const script = join(import.meta.dirname, "../interop/python/pricing_worker.py");

const probe = spawnSync(python, ["-c", "import grpc, google.protobuf"]);
const isMissing = probe.status !== 0;
const hint = `${python} cannot import grpc and google.protobuf; on Debian: apt-get install python3-grpcio python3-protobuf`;

/** Files, each behind what it imports. */
function descriptorSet(...roots: readonly DescFile[]): Uint8Array {
  const files = new Set<DescFile>();
  const visit = (file: DescFile): void => {
    for (const dependency of file.dependencies) visit(dependency);
    files.add(file);
  };
  for (const root of roots) visit(root);
  const file = Array.from(files, ({ proto }) => proto);
  return toBinary(FileDescriptorSetSchema, create(FileDescriptorSetSchema, { file }));
}

describe("a worker in Python", () => {
  const skip = isMissing && process.env["CI"] === undefined ? hint : false;

  it("attaches itself with nothing but grpcio, and runs calls of every kind", {
    skip,
  }, async () => {
    assert.ok(!isMissing, hint);
    await using server = await openCollector();
    await using client = await connect({ url: server.url, env: {} });
    await client.services.registry.registerService({
      fileDescriptor: Pricing.file.proto,
      serviceName: Pricing.typeName,
    });
    const child = spawn(python, [script, new URL(server.url).host, "default"], {
      stdio: ["pipe", "pipe", "inherit"],
    });
    const closed = once(child, "close");
    try {
      child.stdin.end(descriptorSet(file_collector_service_hosts, Pricing.file));
      const [line] = await once(createInterface({ input: child.stdout }), "line");
      assert.equal(line, "attached");
      using connection = pricingClient(server.url);
      const { client: caller } = connection;

      let head: Headers | undefined;
      const onHeader = (received: Headers): void => {
        head = received;
      };
      const quoted = await caller.quote({ title: "grüße", quantity: 3 }, { onHeader });
      assert.deepEqual([quoted.title, quoted.cents], ["grüße", 750n]);
      assert.equal(head?.get("x-worker"), "python");
      await assert.rejects(caller.quote({ quantity: -1 }), (error) => {
        assert.ok(error instanceof ConnectError);
        assert.deepEqual([error.code, error.rawMessage], [Code.OutOfRange, "not so few"]);
        assert.equal(error.metadata.get("x-why"), "negative");
        return true;
      });
      const request = { title: "tea", quantity: 1 };
      assert.equal((await Array.fromAsync(caller.list({ quantity: 50 }))).length, 50);
      assert.equal(
        (await caller.sum(each(Array.from({ length: 100 }, () => request)))).cents,
        25_000n,
      );
      const haggled = await Array.fromAsync(caller.haggle(each([request, request])));
      assert.deepEqual(
        haggled.map(({ cents }) => cents),
        [250n, 250n],
      );

      // Messages of more than a window, in parts both ways; and answers that wait for the window.
      const title = "x".repeat(1_000_000);
      assert.equal((await caller.quote({ title, quantity: 1 })).title, title);
      const half = "y".repeat(50_000);
      let count = 0;
      for await (const price of caller.list({ title: half, quantity: 40 })) {
        assert.equal(price.title, half);
        count += 1;
        if (count % 10 === 0) await sleep(20);
      }
      assert.equal(count, 40);

      const many = Array.from({ length: 50 }, async (_, quantity) => {
        assert.equal((await caller.quote({ quantity })).cents, BigInt(quantity) * 250n);
      });
      await Promise.all(many);
      const controller = new AbortController();
      const { signal } = controller;
      await assert.rejects(async () => {
        const endless = caller.list({ title: half, quantity: 1_000_000 }, { signal });
        for await (const _price of endless) controller.abort();
      });
      const { hosts } = client.services;
      while ((await hosts.listExecutors({})).executors[0]?.callsInFlight !== 0n) await sleep(10);

      // It is let go when the server stops.
      await server.collector.close();
      assert.deepEqual(await closed, [0, null]);
    } finally {
      child.kill("SIGKILL");
      await closed;
    }
  });
});
