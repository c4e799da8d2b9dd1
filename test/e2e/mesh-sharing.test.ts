import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import type { RegistrationConflict } from "../../src/gen/collector/sharing_pb.ts";
import type { CollectorOptions } from "../../src/server.ts";
import { MeshNode, peerOf } from "../support/mesh-node.ts";
import { pricing, pricingClient } from "../support/pricing.ts";
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
});
