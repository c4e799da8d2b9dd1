import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { anyPack, anyUnpack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { Pricing, QuoteRequestSchema } from "../../examples/gen/pricing_pb.ts";
import { CollectorError } from "../../src/errors.ts";
import {
  MetaRequestSchema,
  MetaResponseSchema,
} from "../../src/gen/collector/collection_server_pb.ts";
import { DispatchSchema } from "../../src/gen/collector/dispatcher_pb.ts";
import { Executor_Kind, ServiceHosts } from "../../src/gen/collector/service_hosts_pb.ts";
import type { AccessControl } from "../../src/rpc/interceptors/access.ts";
import { pricingClient } from "../support/pricing.ts";
import { PricingMesh } from "../support/pricing-mesh.ts";
import { refusalOf } from "../support/refusal.ts";
import { waitUntil } from "../support/wait.ts";

describe("Dispatch", () => {
  it("runs a method here if it can be run here, else at a collector that can", async () => {
    await using mesh = await PricingMesh.start(["a", "b"]);
    await mesh.link("a", "b");
    await using _ = await mesh.serve("b");
    await mesh.knows("a", 1);
    const away = await mesh.dispatch("a");
    assert.deepEqual([away.price?.title, away.handledBy], ["tea at b", "b"]);
    await using __ = await mesh.serve("a");
    const here = await mesh.dispatch("a");
    assert.deepEqual([here.price?.title, here.handledBy], ["tea at a", "a"]);
    await mesh.knows("a", 2);
    const remote = await mesh.dispatch("a", { hints: { prefer: "remote" } });
    assert.equal(remote.handledBy, "b");
    const named = await mesh.dispatch("a", { target: "b" });
    assert.equal(named.handledBy, "b");
    await mesh.knows("b", 2);
    assert.equal((await mesh.dispatch("b", { target: "a" })).handledBy, "a");
  });

  it("lists what runs a service elsewhere, and where that is", async () => {
    await using mesh = await PricingMesh.start(["a", "b"]);
    await mesh.link("a", "b");
    await using _ = await mesh.serve("b");
    await mesh.knows("a", 1);
    const hosts = createClient(ServiceHosts, mesh.node("a").client.transport);
    const { executors } = await hosts.listExecutors({});
    assert.deepEqual(
      executors.map(({ id, kind, collectorId, ready, serviceName }) => ({
        id,
        kind,
        collectorId,
        ready,
        serviceName,
      })),
      [
        {
          id: "peer-b",
          kind: Executor_Kind.PEER,
          collectorId: "b",
          ready: true,
          serviceName: Pricing.typeName,
        },
      ],
    );
  });

  it("reaches a service over collectors in between, by Dispatch and as itself", async () => {
    await using mesh = await PricingMesh.start(["a", "b", "c"]);
    await mesh.link("a", "b");
    await mesh.link("b", "c");
    await using _ = await mesh.serve("c");
    await mesh.knows("a", 1);
    const { price, handledBy } = await mesh.dispatch("a");
    assert.deepEqual([price?.title, handledBy], ["tea at c", "c"]);
    assert.equal((await mesh.dispatch("a", { target: "c" })).handledBy, "c");
    using client = pricingClient(mesh.node("a").server.url);
    assert.equal((await client.client.quote({ title: "pot", quantity: 1 })).title, "pot at c");
    const cents: bigint[] = [];
    for await (const item of client.client.list({ title: "pot", quantity: 3 })) {
      cents.push(item.cents);
    }
    assert.deepEqual(cents, [250n, 500n, 750n]);
    const { executors } = await mesh.node("a").client.registry.lookupService({
      serviceName: Pricing.typeName,
    });
    assert.deepEqual(
      executors.map(({ collectorId, id }) => [collectorId, id]),
      [["c", "peer-b/c"]],
    );
  });

  it("refuses more links than a call may travel", async () => {
    const ids = ["a", "b", "c"];
    await using mesh = await PricingMesh.start(ids, { limits: { meshHopsMax: 1 } });
    await mesh.link("a", "b");
    await mesh.link("b", "c");
    await using _ = await mesh.serve("c");
    await mesh.knows("b", 1);
    assert.equal((await mesh.dispatch("b")).handledBy, "c");
    const refusal = await refusalOf(mesh.dispatch("a"));
    assert.equal(refusal.reason, "SERVICE_UNAVAILABLE");
  });

  it("spreads calls, keeps sticky ones together, and heeds labels", async () => {
    await using mesh = await PricingMesh.start(["a", "b", "c"]);
    await mesh.link("a", "b");
    await mesh.link("a", "c");
    await using _ = await mesh.serve("b");
    await using __ = await mesh.serve("c");
    await mesh.knows("a", 2);
    const handledBy = async (hints: Readonly<Record<string, string>>): Promise<Set<string>> => {
      const seen = new Set<string>();
      for (let call = 0; call < 40; call += 1) {
        seen.add((await mesh.dispatch("a", { hints })).handledBy);
      }
      return seen;
    };
    assert.deepEqual([...(await handledBy({}))].sort(), ["b", "c"]);
    assert.equal((await handledBy({ sticky: "cart-7" })).size, 1);
    const none = await refusalOf(mesh.dispatch("a", { hints: { "match.zone": "moon" } }));
    assert.equal(none.reason, "SERVICE_UNAVAILABLE");
    const bad = await refusalOf(mesh.dispatch("a", { hints: { prefer: "best" } }));
    assert.deepEqual(bad.fields, ["routing_hints.prefer"]);
  });

  it("reaches built-in services of other collectors, also over one in between", async () => {
    await using mesh = await PricingMesh.start(["a", "b", "c"]);
    await mesh.link("a", "b");
    await mesh.link("b", "c");
    await waitUntil("a knows c", 10_000, async () => {
      const { collectors } = await mesh.node("a").client.mesh.listCollectors({});
      return collectors.some(({ id }) => id === "c");
    });
    for (const [target, expected] of [
      ["", "a"],
      ["a", "a"],
      ["b", "b"],
      ["c", "c"],
    ] as const) {
      const answer = await mesh.node("a").client.dispatcher.dispatch({
        service: { serviceName: "collector.CollectionService" },
        methodName: "Meta",
        input: anyPack(MetaRequestSchema, create(MetaRequestSchema)),
        targetCollectorId: target,
      });
      assert.equal(answer.handledByCollectorId, expected);
      const meta =
        answer.output === undefined ? undefined : anyUnpack(answer.output, MetaResponseSchema);
      assert.equal(meta?.collectorId, expected);
    }
  });

  it("says what is wrong, in the order of arguments, registration and implementation", async () => {
    await using mesh = await PricingMesh.start(["a"]);
    const { dispatcher } = mesh.node("a").client;
    const service = { serviceName: Pricing.typeName };
    const input = anyPack(QuoteRequestSchema, create(QuoteRequestSchema));
    const refused = async (call: Promise<unknown>) => {
      const { code, reason, fields } = await refusalOf(call);
      return [code, reason, ...fields];
    };
    for (const method of [dispatcher.dispatch, dispatcher.serve]) {
      assert.deepEqual(await refused(method({ methodName: "Quote" })), [
        "InvalidArgument",
        "ARGUMENT_MISSING",
        "service.service_name",
      ]);
      assert.deepEqual(await refused(method({ service })), [
        "InvalidArgument",
        "ARGUMENT_MISSING",
        "method_name",
      ]);
      assert.deepEqual(
        await refused(method({ service: { serviceName: "no.Such" }, methodName: "Quote" })),
        ["Unimplemented", "METHOD_NOT_REGISTERED"],
      );
      assert.deepEqual(await refused(method({ service, methodName: "Nope" })), [
        "Unimplemented",
        "METHOD_NOT_REGISTERED",
      ]);
      assert.deepEqual(await refused(method({ service, methodName: "List", input })), [
        "InvalidArgument",
        "ARGUMENT_INVALID",
        "method_name",
      ]);
      const foreign = { ...input, typeUrl: "x/pricing.v1.Price" };
      assert.deepEqual(await refused(method({ service, methodName: "Quote", input: foreign })), [
        "InvalidArgument",
        "ARGUMENT_INVALID",
        "input",
      ]);
      const torn = { ...input, value: Uint8Array.of(0x0a, 0xff) };
      assert.deepEqual(await refused(method({ service, methodName: "Quote", input: torn })), [
        "InvalidArgument",
        "ARGUMENT_INVALID",
        "input",
      ]);
      assert.deepEqual(await refused(method({ service, methodName: "Quote", input })), [
        "Unavailable",
        "SERVICE_UNAVAILABLE",
      ]);
    }
    assert.deepEqual(await refused(mesh.dispatch("a", { target: "nobody" })), [
      "NotFound",
      "COLLECTOR_NOT_FOUND",
      "target_collector_id",
    ]);
  });

  it("passes on what the implementation fails with, from wherever", async () => {
    await using mesh = await PricingMesh.start(["a", "b"]);
    await mesh.link("a", "b");
    await using _ = await mesh.serve("b", {
      quote: () => {
        throw new CollectorError("RECORD_NOT_FOUND", "no such tea", { subject: { id: "tea" } });
      },
    });
    await mesh.knows("a", 1);
    const refusal = await refusalOf(mesh.dispatch("a"));
    assert.deepEqual(
      [refusal.code, refusal.reason, refusal.message],
      ["NotFound", "RECORD_NOT_FOUND", "no such tea"],
    );
    using client = pricingClient(mesh.node("a").server.url);
    const error = await client.client.quote({ title: "tea" }).catch((thrown: unknown) => thrown);
    assert.equal(ConnectError.from(error).code, Code.NotFound);
  });

  it("runs nothing that its caller may not call", async () => {
    const asked: string[] = [];
    const access: AccessControl = {
      authenticate: () => ({ id: "ada" }),
      authorize: (_principal, { serviceName, methodName }) => {
        asked.push(methodName);
        if (serviceName !== Pricing.typeName) return;
        throw new CollectorError("PERMISSION_DENIED", "not for you");
      },
    };
    await using mesh = await PricingMesh.start(["a"], { access });
    let runs = 0;
    await using _ = await mesh.serve("a", {
      quote: () => {
        runs += 1;
        return Promise.resolve({});
      },
    });
    asked.length = 0;
    const refusal = await refusalOf(mesh.dispatch("a"));
    assert.deepEqual([refusal.code, refusal.reason], ["PermissionDenied", "PERMISSION_DENIED"]);
    assert.deepEqual(asked, ["Dispatch", "Quote"]);
    assert.equal(runs, 0);
  });

  it("is recorded, and the newest records are kept", async () => {
    await using mesh = await PricingMesh.start(["a", "b"], { limits: { dispatchesKeptMax: 5 } });
    await mesh.link("a", "b");
    await using _ = await mesh.serve("b");
    await mesh.knows("a", 1);
    for (let call = 0; call < 8; call += 1) await mesh.dispatch("a", { title: `t${call}` });
    await refusalOf(mesh.dispatch("a", { method: "Nope" }));
    const { client } = mesh.node("a");
    const recorded = async () => {
      const { items } = await client.records.list({
        namespace: "system",
        collectionName: "dispatches",
      });
      return items.flatMap((item) => anyUnpack(item, DispatchSchema) ?? []);
    };
    await waitUntil("the last one is recorded", 10_000, async () =>
      (await recorded()).some(({ methodName }) => methodName === "Nope"),
    );
    const kept = await recorded();
    assert.equal(kept.length, 5);
    const [first] = kept;
    assert.deepEqual(
      [first?.sourceCollectorId, first?.targetCollectorId, first?.service?.serviceName],
      ["a", "b", Pricing.typeName],
    );
    const failed = kept.find(({ methodName }) => methodName === "Nope");
    assert.equal(failed?.resultStatus?.details["reason"], "METHOD_NOT_REGISTERED");
    assert.equal(failed?.targetCollectorId, "");
  });
});
