import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { CollectorRegistry } from "../../src/gen/collector/registry_pb.ts";
import { ServiceHosts } from "../../src/gen/collector/service_hosts_pb.ts";
import { TypeRegistry } from "../../src/gen/collector/type_registry_pb.ts";
import { createCollector } from "../../src/server.ts";
import { openRawServer } from "../support/outbound.ts";
import {
  describeWay,
  each,
  openCollector,
  pricing,
  pricingClient,
  ways,
} from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

/** Debian's, which has the modules; another Python in the PATH may not. */
const python = "/usr/bin/python3";
const isMissing = spawnSync(python, ["-c", "import grpc, google.protobuf"]).status !== 0;
const hint = `${python} cannot import grpc; on Debian: apt-get install python3-grpcio`;
const skip = isMissing && process.env["CI"] === undefined ? hint : false;

/** Starts the example's service in Python. @returns its address */
async function startPython(): Promise<AsyncDisposable & { readonly address: string }> {
  const script = join(import.meta.dirname, "../interop/python/pricing_server.py");
  const child = spawn(python, [script], { stdio: ["pipe", "pipe", "inherit"] });
  const set = create(FileDescriptorSetSchema, { file: [Pricing.file.proto] });
  child.stdin.end(toBinary(FileDescriptorSetSchema, set));
  const [port] = await once(child.stdout.setEncoding("utf8"), "data");
  return {
    address: `127.0.0.1:${String(port).trim()}`,
    async [Symbol.asyncDispose]() {
      const ended = once(child, "close");
      child.kill("SIGKILL");
      await ended;
    },
  };
}

const file = { fileDescriptor: Pricing.file.proto, serviceName: Pricing.typeName };

describe("an endpoint of a service", () => {
  it("answers headers that arrive though it fails afterwards", async () => {
    await using server = await openCollector();
    await using endpoint = await openRawServer((stream) => {
      stream.on("wantTrailers", () => {
        stream.sendTrailers({ "grpc-status": "11", "grpc-message": "no", "x-tail": "t" });
      });
      const headers = { ":status": 200, "content-type": "application/grpc", "x-head": "h" };
      stream.respond(headers, { waitForTrailers: true });
      stream.end();
    });
    using connection = pricingClient(server.url);
    await createClient(CollectorRegistry, connection.transport).registerService({
      ...file,
      endpoints: [{ address: endpoint.url }],
    });
    for (const way of ways) {
      using caller = pricingClient(server.url, way);
      await assert.rejects(caller.client.quote({ quantity: 1 }), (error) => {
        assert.ok(error instanceof ConnectError);
        assert.equal(error.code, Code.OutOfRange);
        const seen = [error.metadata.get("x-head"), error.metadata.get("x-tail")];
        assert.deepEqual(seen, ["h", "t"], describeWay(way));
        return true;
      });
    }
  });

  it("can be a gRPC server in Python", { skip }, async () => {
    assert.ok(!isMissing, hint);
    await using server = await openCollector();
    await using endpoint = await startPython();
    using connection = pricingClient(server.url);
    await createClient(CollectorRegistry, connection.transport).registerService({
      ...file,
      endpoints: [{ address: endpoint.address }],
    });
    for (const way of ways) {
      using caller = pricingClient(server.url, way);
      const { client } = caller;
      const request = { title: "tea", quantity: 3 };
      let head: Headers | undefined;
      let tail: Headers | undefined;
      const onHeader = (headers: Headers): void => {
        head = headers;
      };
      const onTrailer = (headers: Headers): void => {
        tail = headers;
      };
      const headers = { "x-word": "one" };
      assert.equal((await client.quote(request, { headers, onHeader, onTrailer })).cents, 750n);
      assert.equal(head?.get("x-head"), "one");
      assert.match(head?.get("x-head-bin") ?? "", /^AP8=?$/);
      assert.equal(tail?.get("x-namespace"), "default");
      const listed = await Array.fromAsync(client.list(request), ({ cents }) => cents);
      assert.deepEqual(listed, [250n, 500n, 750n]);
      const sum = await client.sum(each([request, { title: "cups", quantity: 1 }]));
      assert.deepEqual([sum.title, sum.cents], ["tea cups", 1000n]);
      if (way.httpVersion === "2") {
        const haggled = await Array.fromAsync(client.haggle(each([request])), (p) => p.cents);
        assert.deepEqual(haggled, [750n]);
      }
      await assert.rejects(client.quote({ quantity: -1 }), (error) => {
        assert.ok(error instanceof ConnectError);
        assert.equal(error.code, Code.OutOfRange);
        assert.equal(error.rawMessage, "none of those: grüße");
        assert.equal(error.metadata.get("x-why"), "negative");
        assert.deepEqual(
          error.details.map((detail) => ("type" in detail ? detail.type : "")),
          ["a.B.C"],
        );
        return true;
      });
    }
  });

  it("gets its share, is left out while it is down, and is back by itself", async () => {
    await using server = await openCollector({ limits: { endpointCheckMs: 200 } });
    await using first = await openCollector();
    await using folder = await tempFolder("endpoint");
    const named = (title: string) => pricing({ quote: () => Promise.resolve({ title }) });
    await using _first = await first.collector.serve(Pricing, named("first"));
    const options = { logLevel: "silent", data: folder.path } as const;
    let second = await createCollector({ ...options, port: 0 });
    const port = Number(new URL(second.url).port);
    await second.serve(Pricing, named("second"));
    using connection = pricingClient(server.url);
    const { client, transport } = connection;
    const endpoints = [first.url, second.url].map((address) => ({ address }));
    await createClient(CollectorRegistry, transport).registerService({ ...file, endpoints });
    const hosts = createClient(ServiceHosts, transport);
    const seen = async (): Promise<string[]> => {
      const titles = new Set<string>();
      for (let i = 0; i < 30; i += 1) titles.add((await client.quote({})).title);
      return [...titles].sort();
    };
    const readiness = async (): Promise<boolean[]> =>
      (await hosts.listExecutors({})).executors.map(({ ready }) => ready);
    assert.deepEqual(await readiness(), [true, true]);
    assert.deepEqual(await seen(), ["first", "second"]);
    await second.close();
    assert.deepEqual(await seen(), ["first"], "no call fails where another endpoint is up");
    await waitUntil("it is known to be down", 10_000, async () =>
      (await readiness()).includes(false),
    );
    second = await createCollector({ ...options, port });
    await second.serve(Pricing, named("second"));
    await waitUntil("it is back", 20_000, async () => (await readiness()).every(Boolean));
    assert.deepEqual(await seen(), ["first", "second"]);
    await second.close();
  });

  it("is there again after a restart, and goes with its service", async () => {
    await using backend = await openCollector();
    await using _served = await backend.collector.serve(Pricing, pricing());
    await using folder = await tempFolder("endpoints");
    const options = { port: 0, logLevel: "silent", data: folder.path } as const;
    {
      await using server = await createCollector(options);
      using connection = pricingClient(server.url);
      await createClient(CollectorRegistry, connection.transport).registerService({
        ...file,
        endpoints: [{ address: backend.url }],
      });
    }
    await using server = await createCollector(options);
    using connection = pricingClient(server.url);
    const { client, transport } = connection;
    assert.equal((await client.quote({ quantity: 1 })).cents, 250n);
    const { service } = await createClient(CollectorRegistry, transport).lookupService({
      serviceName: Pricing.typeName,
    });
    assert.deepEqual(
      service?.endpoints.map(({ address }) => address),
      [backend.url],
    );
    assert.deepEqual(service?.idempotentMethods, ["Quote"]);
    await createClient(TypeRegistry, transport).unregisterService({ name: Pricing.typeName });
    const { executors } = await createClient(ServiceHosts, transport).listExecutors({});
    assert.deepEqual(executors, []);
  });

  it("is refused where it may not be dialled", async () => {
    await using server = await openCollector();
    using connection = pricingClient(server.url);
    const registry = createClient(CollectorRegistry, connection.transport);
    for (const address of ["169.254.169.254:80", "http://2130706433:1", "unix:///run/x.sock"]) {
      const { code, reason, fields } = await refusalOf(
        registry.registerService({ ...file, endpoints: [{ address }] }),
      );
      assert.deepEqual([code, reason], ["PermissionDenied", "PEER_DENIED"], address);
      assert.deepEqual(fields, ["endpoints[0].address"]);
    }
  });
});
