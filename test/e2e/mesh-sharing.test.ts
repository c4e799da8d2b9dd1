import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import type { RegistrationConflict } from "../../src/gen/collector/sharing_pb.ts";
import { ServerReflection } from "../../src/gen/grpc/reflection/v1/reflection_pb.ts";
import type { CollectorOptions } from "../../src/server.ts";
import { runCliHere } from "../support/cli-in-process.ts";
import { MeshNode, peerOf } from "../support/mesh-node.ts";
import { each, pricing, pricingClient } from "../support/pricing.ts";
import { refusalOf } from "../support/refusal.ts";
import { waitUntil } from "../support/wait.ts";

const sharing: CollectorOptions = { sharedRegistrations: ["default"] };

/** A message `things.<name>` with string fields, in a file of its own. */
function thing(name: string, ...fields: readonly string[]): FileDescriptorProto {
  return create(FileDescriptorProtoSchema, {
    name: `things/${name.toLowerCase()}.proto`,
    package: "things",
    syntax: "proto3",
    messageType: [
      create(DescriptorProtoSchema, {
        name,
        field: fields.map((field, at) => ({
          name: field,
          number: at + 1,
          label: FieldDescriptorProto_Label.OPTIONAL,
          type: FieldDescriptorProto_Type.STRING,
        })),
      }),
    ],
  });
}

async function add(node: MeshNode, file: FileDescriptorProto, namespace = ""): Promise<void> {
  await node.client.registry.registerProto({ namespace, fileDescriptor: file });
}

/** Files of a namespace with their versions, as in `things/cup.proto@1`. */
async function files(node: MeshNode, namespace = ""): Promise<string> {
  const answer = await node.client.types.listFiles({ namespace });
  return answer.files
    .map((file) => `${file.fileDescriptor?.name ?? file.id}@${file.version}`)
    .join();
}

async function fieldsOf(node: MeshNode, name: string): Promise<string> {
  const { file } = await node.client.types.getFile({ name: `things/${name}.proto` });
  return file?.fileDescriptor?.messageType[0]?.field.map((field) => field.name).join() ?? "";
}

async function hasFields(node: MeshNode, name: string, fields: string): Promise<void> {
  await waitUntil(`${node.id} has ${name} with ${fields}`, 10_000, async () => {
    try {
      return (await fieldsOf(node, name)) === fields;
    } catch {
      return false;
    }
  });
}

async function isGone(node: MeshNode, name: string): Promise<void> {
  await waitUntil(`${name} is gone at ${node.id}`, 10_000, async () => {
    return !(await files(node)).includes(`things/${name}.proto`);
  });
}

async function conflictsOf(node: MeshNode, peer: string): Promise<RegistrationConflict[]> {
  const link = (await node.links()).find((each) => peerOf(each, node.id) === peer);
  return link?.registrationConflicts ?? [];
}

async function inConflict(node: MeshNode, peer: string, ...expected: string[]): Promise<void> {
  let found: string[] = [];
  try {
    await waitUntil(`${node.id} has conflicts with ${peer}`, 10_000, async () => {
      found = (await conflictsOf(node, peer)).map(({ name, reason }) => `${name} ${reason}`);
      return found.join() === expected.join();
    });
  } catch (error) {
    assert.deepEqual(found, expected);
    throw error;
  }
}

describe("Linked collectors that share registrations", () => {
  it("have what one registers, new versions too, and a service can be called at all of them", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", sharing);
    await a.connect(b.address);
    await b.linkedTo("a");
    await add(a, thing("Cup", "title"));
    await hasFields(b, "cup", "title");
    await add(b, thing("Cup", "title", "color"));
    await hasFields(a, "cup", "title,color");
    const { file } = await a.client.types.getFile({ name: "things/cup.proto" });
    assert.equal(file?.version, 2n);
    assert.equal(file.metadata?.labels["origin_collector_id"], "b");

    await using _pricing = await b.server.serve(Pricing, pricing());
    await waitUntil("a can route", 10_000, async () => {
      const request = { serviceName: Pricing.typeName, methodName: "Quote" };
      return (await a.client.registry.validateMethod(request)).isValid;
    });
    await waitUntil("a knows who runs it", 10_000, async () => {
      const answer = await a.client.registry.lookupService({ serviceName: Pricing.typeName });
      assert.equal(answer.service?.metadata?.labels["origin_collector_id"], "b");
      return answer.executors.some(({ collectorId, ready }) => collectorId === "b" && ready);
    });
    using native = pricingClient(a.server.url);
    assert.equal((await native.client.quote({ title: "tea", quantity: 2 })).cents, 500n);
    const answer = await fetch(`${a.server.url}/${Pricing.typeName}/Quote`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ title: "tea", quantity: 3 }),
    });
    assert.deepEqual(await answer.json(), { title: "tea", cents: "750" });
  });

  it("lists at once, with the way to it, a service two links away, and reflection has it", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", sharing);
    await using c = await MeshNode.start("c", sharing);
    await a.connect(b.address);
    await b.connect(c.address);
    await c.linkedTo("b");
    await using _pricing = await c.server.serve(Pricing, pricing());
    await waitUntil("a finds the way", 10_000, async () => {
      const request = { serviceName: Pricing.typeName };
      const { executors, service } = await a.client.registry.lookupService(request);
      assert.equal(service?.metadata?.labels["origin_collector_id"], "c");
      return executors.some(({ way, collectorId }) => collectorId === "c" && way.join() === "b,c");
    });
    using native = pricingClient(a.server.url);
    assert.equal((await native.client.quote({ title: "tea", quantity: 2 })).cents, 500n);
    const names = await reflectedServices(a);
    assert.ok(names.includes(Pricing.typeName), names.join());
  });

  it("take over nothing unless both ends want it, and never more than the namespace they want", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b");
    const id = await a.connect(b.address);
    const [link] = await b.linkedTo("a");
    await add(a, thing("Cup", "title"));
    await add(b, thing("Jug", "title"));
    await a.client.namespaces.createNamespace({ namespace: { name: "other" } });
    await add(a, thing("Pot", "title"), "other");
    const refusal = await refusalOf(
      (async () => {
        for await (const _answer of a.client.mesh.listSharedRegistrations({
          namespace: "default",
        }));
      })(),
    );
    assert.deepEqual([refusal.code, refusal.reason], ["PermissionDenied", "PERMISSION_DENIED"]);
    await sleep(1000);
    assert.equal(await files(a), "things/cup.proto@1");
    assert.equal(await files(b), "things/jug.proto@1");
    assert.deepEqual(link?.sharedRegistrations, []);

    const answer = await b.client.mesh.shareRegistrations({
      connectionId: id,
      namespaces: ["default"],
    });
    assert.deepEqual(answer.connection?.sharedRegistrations, ["default"]);
    await hasFields(b, "cup", "title");
    await hasFields(a, "jug", "title");
    await assert.rejects(files(b, "other"));
    await b.client.mesh.shareRegistrations({ connectionId: id, namespaces: [] });
    await waitUntil("a knows that b does not share any more", 10_000, async () => {
      return (await a.links())[0]?.sharedRegistrations.length === 0;
    });
    await add(a, thing("Cup", "title", "color"));
    await sleep(1000);
    assert.equal(await fieldsOf(b, "cup"), "title");
  });

  it("refuse to share what is no namespace, what the link does not offer, and system", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b");
    const connect = (namespaces: string[], sharesRegistrations: string[]) =>
      refusalOf(
        a.client.dispatcher.connect({ address: b.address, namespaces, sharesRegistrations }),
      );
    const system = await connect([], ["system"]);
    assert.deepEqual([system.reason, system.fields], ["NAME_INVALID", ["shares_registrations[0]"]]);
    const other = await connect(["shop"], ["default"]);
    assert.equal(other.reason, "ARGUMENT_INVALID");
    assert.match(other.message, /default/);
    const request = { connectionId: "none", namespaces: [] };
    const none = await refusalOf(a.client.mesh.shareRegistrations(request));
    assert.deepEqual([none.code, none.reason], ["NotFound", "LINK_NOT_FOUND"]);
  });

  it("share a namespace that only one has, by the wish of Connect, and keep it through restarts", async () => {
    await using a = await MeshNode.start("a");
    await using b = await MeshNode.start("b", { sharedRegistrations: ["shop"] });
    await a.client.namespaces.createNamespace({ namespace: { name: "shop" } });
    await add(a, thing("Cup", "title"), "shop");
    await a.client.dispatcher.connect({ address: b.address, sharesRegistrations: ["shop"] });
    const isThere = async () => (await files(b, "shop")) === "things/cup.proto@1";
    await waitUntil("b has the namespace and the file", 10_000, isThere);
    await b.stop();
    await add(a, thing("Jug", "title"), "shop");
    await a.stop();
    await b.start();
    assert.ok(await isThere());
    const request = { namespace: "shop", name: "things/cup.proto" };
    const { file } = await b.client.types.getFile(request);
    assert.equal(file?.metadata?.labels["origin_collector_id"], "a");
    await a.start();
    await waitUntil("b catches up", 10_000, async () => (await files(b, "shop")).includes("jug"));
  });

  it("ask back over the stream where they cannot dial, a large file in parts", async () => {
    await using a = await MeshNode.start("a", { ...sharing, advertise: "" });
    await using b = await MeshNode.start("b", sharing);
    await a.connect(b.address);
    const [link] = await b.linkedTo("a");
    assert.equal(link?.dials, false);
    const fields = Array.from({ length: 8000 }, (_, at) => `a_field_with_a_long_name_${at}`);
    await add(a, thing("Large", ...fields));
    await hasFields(b, "large", fields.join());
  });

  it("agree in a ring, after a link was down too, and come to rest", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", sharing);
    await using c = await MeshNode.start("c", sharing);
    const nodes = [a, b, c];
    await a.connect(b.address);
    await b.connect(c.address);
    await c.connect(a.address);
    await add(a, thing("Cup", "title"));
    await add(b, thing("Jug", "title"));
    await add(c, thing("Pot", "title"));
    const all = "things/cup.proto@1,things/jug.proto@1,things/pot.proto@1";
    for (const node of nodes) {
      await waitUntil(`${node.id} has all`, 10_000, async () => (await files(node)) === all);
    }
    await c.stop();
    await add(a, thing("Cup", "title", "color"));
    await hasFields(b, "cup", "title,color");
    await c.start();
    for (const node of nodes) await hasFields(node, "cup", "title,color");
    const taken = () => Promise.all(nodes.map((node) => metric(node, "taken_over_total")));
    await sleep(500);
    const before = await taken();
    await sleep(1500);
    assert.deepEqual(await taken(), before);
    for (const node of nodes) {
      for (const link of await node.links()) assert.equal(link.registrationConflictCount, 0n);
    }
  });

  it("report what both have altered, overwrite nothing, and agree once one holds all of both", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", sharing);
    await a.connect(b.address);
    await add(a, thing("Cup", "title"));
    await hasFields(b, "cup", "title");
    await b.stop();
    await add(a, thing("Cup", "title", "color"));
    await b.start({ sharedRegistrations: [] });
    await add(b, thing("Cup", "title", "size"));
    await b.stop();
    await b.start();
    const name = "things/cup.proto";
    for (const [node, peer] of [
      [a, "b"],
      [b, "a"],
    ] as const) {
      await inConflict(node, peer, `${name} ALTERED_AT_BOTH_ENDS`);
      const [conflict] = await conflictsOf(node, peer);
      assert.deepEqual([conflict?.version, conflict?.peerVersion], [2n, 2n]);
      assert.equal(conflict?.namespace, "default");
      assert.equal(await metric(node, "registration_conflicts"), 1);
    }
    assert.equal(await fieldsOf(a, "cup"), "title,color");
    assert.equal(await fieldsOf(b, "cup"), "title,size");
    // What is not in conflict goes on being shared.
    await add(a, thing("Jug", "title"));
    await hasFields(b, "jug", "title");
    const listed = await runCliHere(["mesh", "list"], { COLLECTOR_URL: a.server.url });
    assert.match(listed.stdout, /default \(1 in conflict\)/);
    assert.match(
      listed.stderr,
      /conflict with b in default: things\/cup.proto \(2 here, 2 there\)/,
    );
    // Field 2 has two names; one of them has to go, and compatible is neither.
    await a.client.types.unregisterFile({ name });
    await hasFields(a, "jug", "title");
    await inConflict(b, "a", `${name} REMOVED_AT_PEER`);
    await add(b, thing("Cup", "title", "size"));
    await hasFields(a, "cup", "title,size");
    await inConflict(a, "b");
    await inConflict(b, "a");
    assert.equal(await metric(b, "registration_conflicts"), 0);
  });

  it("follow removals, but for what is in use or was registered there too", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", sharing);
    await a.connect(b.address);
    for (const each of ["Cup", "Jug", "Pot"]) await add(a, thing(each, "title"));
    for (const each of ["cup", "jug", "pot"]) await hasFields(b, each, "title");
    await b.client.repo.createCollection({
      collection: { name: "jugs", messageType: { messageName: "things.Jug" } },
    });
    // As a caller who does not know that it is there.
    await add(b, thing("Pot", "title"));
    for (const each of ["cup", "jug", "pot"]) {
      await a.client.types.unregisterFile({ name: `things/${each}.proto` });
    }
    await isGone(b, "cup");
    const kept = ["things/jug.proto REMOVED_AT_PEER", "things/pot.proto REMOVED_AT_PEER"];
    await inConflict(b, "a", ...kept);
    assert.equal(await files(a), "");
    assert.equal(await files(b), "things/jug.proto@1,things/pot.proto@1");
    await b.client.admin.deleteCollection({ collection: { name: "jugs" } });
    await isGone(b, "jug");
    await b.client.types.unregisterFile({ name: "things/pot.proto" });
    await inConflict(b, "a");
    // Registered again it is shared again.
    await add(a, thing("Cup", "title", "color"));
    await hasFields(b, "cup", "title,color");
  });

  it("send large files in parts, and refuse what is over the limits of the one that takes over", async () => {
    await using a = await MeshNode.start("a", sharing);
    await using b = await MeshNode.start("b", {
      ...sharing,
      limits: { typesPerNamespaceMax: 3 },
    });
    await a.connect(b.address);
    const fields = Array.from({ length: 8000 }, (_, at) => `a_field_with_a_long_name_${at}`);
    await add(a, thing("Large", ...fields));
    await hasFields(b, "large", fields.join());
    for (const each of ["P", "Q", "R", "S"]) await add(a, thing(each, "title"));
    await inConflict(
      b,
      "a",
      "things/r.proto SCHEMA_LIMIT_EXCEEDED",
      "things/s.proto SCHEMA_LIMIT_EXCEEDED",
    );
    assert.equal((await files(b)).split(",").length, 3);
  });
});

async function reflectedServices(node: MeshNode): Promise<string[]> {
  const session = new Http2SessionManager(node.server.url);
  const transport = createGrpcTransport({ baseUrl: node.server.url, sessionManager: session });
  const client = createClient(ServerReflection, transport);
  const request = { messageRequest: { case: "listServices" as const, value: "" } };
  try {
    for await (const { messageResponse } of client.serverReflectionInfo(each([request]))) {
      if (messageResponse.case !== "listServicesResponse") continue;
      return messageResponse.value.service.map(({ name }) => name);
    }
    return [];
  } finally {
    session.abort();
  }
}

/** The sum of a metric's samples. */
async function metric(node: MeshNode, name: string): Promise<number> {
  const text = await (await fetch(`${node.server.url}/metrics`)).text();
  const lines = text.split("\n").filter((line) => !line.startsWith("#") && line.includes(name));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}
