import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { clone, create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { CompatibilityMode, NamespaceSchema } from "../gen/collector/namespaces_pb.ts";
import {
  type RegisteredProto,
  RegisteredProtoSchema,
  type RegisteredService,
  RegisteredServiceSchema,
} from "../gen/collector/registry_pb.ts";
import { entriesOf } from "./moment.ts";
import type { Registry } from "./registry.ts";
import type { ArchivedNamespace } from "./restoration.ts";
import { compile } from "./testing/compile.ts";
import { openRegistry } from "./testing/open-registry.ts";
import { common, firstPage, register, registerService, shop } from "./testing/shop.ts";

interface MutableArchived {
  readonly namespace: ArchivedNamespace["namespace"];
  readonly protos: RegisteredProto[];
  readonly services: RegisteredService[];
}

/** As an archive has them. */
function archived(registry: Registry, name = "default"): MutableArchived {
  const [moment] = registry.moment(name);
  assert.ok(moment);
  const protos: RegisteredProto[] = [];
  const services: RegisteredService[] = [];
  for (const entry of entriesOf(moment)) {
    if (entry.kind === "proto") protos.push(entry.value);
    if (entry.kind === "service") services.push(entry.value);
  }
  return { namespace: moment.namespace, protos, services };
}

/** What callers see of a namespace, as text. */
function seen(registry: Registry): string {
  const { files } = registry.listFiles("default", {
    ...firstPage,
    query: "",
    includeDescriptors: true,
  });
  const versions = files.map(({ fileDescriptor }) =>
    registry.listFileVersions("default", fileDescriptor?.name ?? "", firstPage),
  );
  const { services } = registry.listServices("default", firstPage);
  const types = registry.listTypes("default", { ...firstPage, query: "", kind: 0 });
  const own = services
    .filter(({ builtIn }) => !builtIn)
    .map(({ metadata, ...service }) => ({ ...service, createdAt: metadata?.createdAt }));
  const all = [files, versions, own, types];
  return JSON.stringify(all, (_key, value: unknown) =>
    typeof value === "bigint" ? String(value) : value,
  );
}

/** {@link common} with one field more for each version. */
function commonVersion(version: number): typeof common {
  const file = clone(FileDescriptorProtoSchema, common);
  const [units] = file.messageType[0]?.field ?? [];
  assert.ok(units);
  for (let number = 2; number <= version; number += 1) {
    const name = `more_${number}`;
    file.messageType[0]?.field.push({ ...units, name, jsonName: `more${number}`, number });
  }
  return file;
}

async function filled(): Promise<Registry> {
  const { registry } = await openRegistry();
  await register(registry, common);
  await register(registry, shop);
  await register(registry, commonVersion(2));
  await register(registry, commonVersion(3));
  await registerService(registry, "shop.Shop");
  return registry;
}

describe("a namespace that is restored", () => {
  it("has every version of every file, services and settings, also after a restart", async () => {
    const source = await filled();
    await source.updateNamespace(
      create(NamespaceSchema, { name: "default", compatibilityMode: CompatibilityMode.NONE }),
      [],
      false,
    );
    const target = await openRegistry({ nowMs: () => 1_800_000_000_000 });
    const given = archived(source);
    await target.registry.checkArchived(given);
    assert.deepEqual(await target.registry.restoreNamespace(given, false), []);
    for (const registry of [target.registry, await target.reopen()]) {
      assert.equal(seen(registry), seen(source));
      const { compatibilityMode } = registry.getNamespace("default");
      assert.equal(compatibilityMode, CompatibilityMode.NONE);
    }
    const { writes } = target.protos;
    assert.deepEqual(await target.registry.restoreNamespace(given, false), []);
    assert.equal(target.protos.writes, writes, "a second time there is nothing to do");
  });

  it("keeps histories that no compatible registry would have taken, and goes on with them", async () => {
    const { registry: source } = await openRegistry();
    await source.updateNamespace(
      create(NamespaceSchema, { name: "default", compatibilityMode: CompatibilityMode.NONE }),
      [],
      false,
    );
    await register(source, common);
    const other = clone(FileDescriptorProtoSchema, common);
    const [units] = other.messageType[0]?.field ?? [];
    assert.ok(units);
    units.number = 7;
    await register(source, other);
    const { registry } = await openRegistry();
    const { namespace, ...rest } = archived(source);
    const strict = { ...namespace, compatibilityMode: CompatibilityMode.WIRE_JSON };
    assert.deepEqual(await registry.restoreNamespace({ namespace: strict, ...rest }, true), []);
    assert.equal(registry.getFile("default", common.name).version, 2n);
    await assert.rejects(register(registry, commonVersion(2)), { reason: "SCHEMA_INCOMPATIBLE" });
  });

  it("keeps what follows the archived files, and refuses what does not fit them", async () => {
    const source = await filled();
    const newer = await openRegistry();
    await register(newer.registry, commonVersion(5));
    assert.deepEqual(await newer.registry.restoreNamespace(archived(source), false), []);
    assert.equal(newer.registry.getFile("default", common.name).version, 1n);
    assert.equal(newer.registry.getFile("default", shop.name).version, 1n);

    const older = await openRegistry();
    await register(older.registry, common);
    assert.deepEqual(await older.registry.restoreNamespace(archived(source), false), []);
    assert.equal(older.registry.getFile("default", common.name).version, 2n);

    const another = await openRegistry();
    const changed = clone(FileDescriptorProtoSchema, common);
    const [units] = changed.messageType[0]?.field ?? [];
    assert.ok(units);
    units.number = 7;
    await register(another.registry, changed);
    const before = seen(another.registry);
    const [failure] = await another.registry.restoreNamespace(archived(source), true);
    assert.equal(failure?.reason, "SCHEMA_INCOMPATIBLE");
    assert.equal(seen(another.registry), before);
  });

  it("keeps the settings of a namespace that is in use, unless they are to be replaced", async () => {
    const source = await filled();
    const given = archived(source);
    given.namespace.disabledServices.push("collector.TypeRegistry");
    const { registry } = await openRegistry();
    await register(registry, common);
    const [failure] = await registry.restoreNamespace(given, false);
    assert.equal(failure?.reason, "NAMESPACE_EXISTS");
    assert.deepEqual(registry.getNamespace("default").disabledServices, []);
    assert.equal(registry.getFile("default", shop.name).version, 1n, "its files are taken");
    assert.deepEqual(await registry.restoreNamespace(given, true), []);
    assert.deepEqual(registry.getNamespace("default").disabledServices, ["collector.TypeRegistry"]);
  });

  it("is as it was if what was archived is crafted", async () => {
    const source = await filled();
    const crafted: Readonly<Record<string, (given: MutableArchived) => void>> = {
      "a version twice": ({ protos }) => protos.push(...protos.slice(-1)),
      "versions that fall": ({ protos }) => protos.splice(0, protos.length, ...protos.toReversed()),
      "a version of 0": ({ protos }) => replace(protos, { version: 0n }),
      "another namespace": ({ protos }) => replace(protos, { namespace: "other" }),
      "no file": ({ protos }) => protos.unshift(create(RegisteredProtoSchema, { version: 1n })),
      "an import that is not there": ({ protos }) => protos.splice(0, 3),
      "a file that is none": ({ protos }) => {
        protos.push(withFile(protos, (file) => file.messageType.push(...file.messageType)));
      },
      "an old version that is none": ({ protos }) => {
        const [first] = protos;
        const [field] = first?.fileDescriptor?.messageType[0]?.field ?? [];
        if (field !== undefined) field.number = -1;
      },
      "messages nested too deep": ({ protos }) => {
        protos.push(
          withFile(protos, (file) => {
            for (let depth = 0; depth < 40; depth += 1) {
              file.messageType = [
                { ...messageOf(file), name: `M${depth}`, nestedType: file.messageType },
              ];
            }
          }),
        );
      },
      "package collector": ({ protos }) => {
        protos.push(
          withFile(protos, (file) => {
            file.package = "collector";
            file.name = "collector/more.proto";
          }),
        );
      },
      "a service that no file has": ({ services }) =>
        services.push(create(RegisteredServiceSchema, { serviceName: "shop.Nothing" })),
    };
    for (const [what, craft] of Object.entries(crafted)) {
      const target = await openRegistry();
      const given = copyOf(archived(source));
      craft(given);
      await assert.rejects(target.registry.checkArchived(given), CollectorError, what);
      const failures = await target.registry.restoreNamespace(given, true);
      assert.equal(failures.length, 1, what);
      assert.deepEqual([target.protos.ids, target.services.ids], [[], []], what);
    }
  });

  it("is left as it was if its files cannot be stored", async () => {
    const source = await filled();
    const target = await openRegistry();
    target.protos.failure = new Error("the disk is gone");
    await assert.rejects(target.registry.restoreNamespace(archived(source), true), /disk is gone/);
    assert.deepEqual(target.protos.ids, []);
    assert.equal(target.registry.listFiles("default", everything).files.length, 0);
    assert.deepEqual(await target.registry.restoreNamespace(archived(source), true), []);
    assert.equal(seen(target.registry), seen(source));
  });

  it("may have more than one call may register", async () => {
    const { registry: source } = await openRegistry();
    const files = compile(
      Object.fromEntries(
        Array.from({ length: 120 }, (_, index) => {
          const fields = Array.from({ length: 60 }, (__, at) => `  string f${at} = ${at + 1};`);
          const text = `syntax = "proto3"; package p${index};\nmessage M {\n${fields.join("\n")}\n}`;
          return [`p${index}.proto`, text];
        }),
      ),
    );
    for (const file of files) await register(source, file);
    const { registry } = await openRegistry();
    assert.deepEqual(await registry.restoreNamespace(archived(source), false), []);
    assert.equal(registry.snapshot("default").types.getMessage("p119.M")?.fields.length, 60);
  });
});

const everything = { ...firstPage, query: "", includeDescriptors: false };

function copyOf({ namespace, protos, services }: MutableArchived): MutableArchived {
  return {
    namespace,
    protos: protos.map((proto) => clone(RegisteredProtoSchema, proto)),
    services: [...services],
  };
}

function replace(protos: RegisteredProto[], changes: Partial<RegisteredProto>): void {
  const [first] = protos;
  if (first !== undefined) protos[0] = { ...first, ...changes };
}

/** A further file, made of the first one. */
function withFile(
  protos: readonly RegisteredProto[],
  change: (file: NonNullable<RegisteredProto["fileDescriptor"]>) => void,
): RegisteredProto {
  const [first] = protos;
  assert.ok(first);
  const proto = clone(RegisteredProtoSchema, first);
  const file = proto.fileDescriptor;
  assert.ok(file);
  file.name = "more.proto";
  file.package = "more";
  change(file);
  return proto;
}

function messageOf(file: NonNullable<RegisteredProto["fileDescriptor"]>) {
  const [message] = file.messageType;
  assert.ok(message);
  return message;
}
