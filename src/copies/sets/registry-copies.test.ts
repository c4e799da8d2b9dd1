import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { setTimeout } from "node:timers/promises";
import { clone, create } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import { type Archives } from "../../archive/archive.ts";
import { createArchives } from "../../archive/archive-pool.ts";
import { BackupMetadata_Content, Compression } from "../../gen/collector/collection_repo_pb.ts";
import { NamespacedNameSchema } from "../../gen/collector/common_pb.ts";
import { NamespaceSchema } from "../../gen/collector/namespaces_pb.ts";
import { RegisteredProtoSchema } from "../../gen/collector/registry_pb.ts";
import { entriesOf } from "../../registry/moment.ts";
import type { Registry } from "../../registry/registry.ts";
import { openRegistry } from "../../registry/testing/open-registry.ts";
import { common, firstPage, register, shop } from "../../registry/testing/shop.ts";
import { calmRun } from "../testing/installer-fixture.ts";
import { RegistryCopies } from "./registry-copies.ts";
import type { PartEntry } from "./registry-entry.ts";
import { writeRegistryPart } from "./registry-part.ts";

const backupId = "0198c0de-7a2b-7f00-8000-000000000001";
const collections = [create(NamespacedNameSchema, { namespace: "default", name: "prices" })];

class Bench implements AsyncDisposable {
  readonly folder: string;
  readonly archives: Archives = createArchives({ threads: 1 });

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async open(): Promise<Bench> {
    return new Bench(await mkdtemp(join(tmpdir(), "collector-registry-")));
  }

  get path(): string {
    return join(this.folder, "archive");
  }

  copiesOf(registry: Registry): RegistryCopies {
    const { archives, folder: scratchFolder } = this;
    const of = { identities: [], collectorId: "test", serverVersion: "0" };
    return new RegistryCopies({ registry, archives, scratchFolder, ...of });
  }

  /** Writes an archive of what is registered. */
  async write(registry: Registry): Promise<void> {
    const backup = { backupId, metadata: {}, setId: "", policy: "" };
    await this.copiesOf(registry).write(
      {
        namespaces: registry.moment(""),
        moment: timestampNow(),
        collections,
        path: this.path,
        compression: Compression.ZSTD,
        recipients: [],
        backup,
      },
      calmRun,
    );
  }

  /** Writes an archive whose checksums are right, whatever is in it. */
  async craft(entries: readonly PartEntry[], recordCount: bigint): Promise<void> {
    const part = join(this.folder, "part");
    await rm(this.path, { force: true });
    await writeRegistryPart(part, entries, calmRun.signal);
    const content = BackupMetadata_Content.REGISTRY;
    await this.archives.pack({
      path: this.path,
      manifest: { content, backupId, recordCount },
      parts: [{ name: "registry", path: part }],
      recipients: [],
    });
    await rm(part);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.archives[Symbol.asyncDispose]();
    await rm(this.folder, { recursive: true });
  }
}

async function filled(): Promise<Registry> {
  const { registry } = await openRegistry();
  await register(registry, common);
  await register(registry, shop);
  return registry;
}

function filesOf(registry: Registry): number {
  return registry.listFiles("default", { ...firstPage, query: "", includeDescriptors: false }).files
    .length;
}

describe("an archive of a registry", () => {
  it("verifies, and restores what was registered", async () => {
    await using bench = await Bench.open();
    await bench.write(await filled());
    const { registry } = await openRegistry();
    const copies = bench.copiesOf(registry);
    assert.deepEqual(await copies.verify(bench.path, backupId, calmRun), []);
    assert.equal(filesOf(registry), 0, "verifying registers nothing");
    const restored = await copies.restore(bench.path, backupId, { overwrite: false }, calmRun);
    assert.deepEqual(restored, { entryCount: 3n, collections, failures: [] });
    assert.equal(filesOf(registry), 2);
    assert.deepEqual(await readdir(bench.folder), ["archive"]);
  });

  it("is refused as a whole if its bytes have changed, or if it is of another backup", async () => {
    await using bench = await Bench.open();
    await bench.write(await filled());
    const whole = await readFile(bench.path);
    const { registry } = await openRegistry();
    const copies = bench.copiesOf(registry);
    for (let at = 0; at < whole.length; at += Math.ceil(whole.length / 40)) {
      const changed = Buffer.from(whole);
      changed[at] = (changed[at] ?? 0) ^ 4;
      await writeFile(bench.path, changed);
      const restoring = copies.restore(bench.path, backupId, { overwrite: true }, calmRun);
      await assert.rejects(restoring, /ARCHIVE|archive/, `byte ${at}`);
    }
    await writeFile(bench.path, whole);
    const [problem] = await copies.verify(bench.path, "another", calmRun);
    assert.match(problem?.description ?? "", /not that of backup another/);
    assert.equal(filesOf(registry), 0);
  });

  it("is found to be crafted, with what is wrong, and changes nothing", async () => {
    await using bench = await Bench.open();
    const registry = await filled();
    const [moment] = registry.moment("default");
    assert.ok(moment);
    const entries = [...entriesOf(moment)];
    const [namespace, first, second] = entries;
    assert.ok(namespace?.kind === "namespace" && first?.kind === "proto" && second !== undefined);
    const named = (name: string): PartEntry => {
      return { kind: "namespace", value: create(NamespaceSchema, { name }) };
    };
    const broken = clone(RegisteredProtoSchema, first.value);
    broken.fileDescriptor?.messageType.push(...(broken.fileDescriptor?.messageType ?? []));
    const crafted: Readonly<Record<string, readonly [PartEntry[], RegExp]>> = {
      "types that do not link": [[namespace, second], /import "shop\/common.proto"/],
      "a file that is none": [[namespace, { kind: "proto", value: broken }], /Money/],
      "a namespace twice": [[...entries, namespace], /does not belong there/],
      "namespace system": [[named("system")], /does not belong there/],
      "a name that is none": [[named("../x")], /a name that is none/],
      "a file before its namespace": [[first, namespace], /not among those of its namespace/],
      "a file of another namespace": [[named("other"), first], /not among those/],
      "a collection that is none": [
        [namespace, { kind: "collection", value: create(NamespacedNameSchema) }],
        /a name that is none/,
      ],
    };
    for (const [what, [craft, expected]] of Object.entries(crafted)) {
      const count = craft.filter(({ kind }) => kind !== "collection").length;
      await bench.craft(craft, BigInt(count));
      const target = await openRegistry();
      const copies = bench.copiesOf(target.registry);
      const problems = await copies.verify(bench.path, backupId, calmRun);
      assert.match(problems[0]?.description ?? "nothing was found", expected, what);
      const outcome = await copies.restore(bench.path, backupId, { overwrite: true }, calmRun).then(
        ({ failures }) => failures[0]?.reason,
        (error: unknown) => (error instanceof Error && "reason" in error ? error.reason : error),
      );
      assert.match(String(outcome), /^(?:ARCHIVE_INVALID|DESCRIPTOR_INVALID|SYMBOL_EXISTS)$/, what);
      assert.deepEqual(target.protos.ids, [], what);
    }
    await bench.craft(entries, 17n);
    const [miscounted] = await bench.copiesOf(registry).verify(bench.path, backupId, calmRun);
    assert.match(miscounted?.description ?? "", /3 entries, not the 17/);
  });

  it("is read one at a time, however many are verified, since a namespace may take much memory", async () => {
    await using bench = await Bench.open();
    const registry = await filled();
    await bench.write(registry);
    const copies = bench.copiesOf(registry);
    let [running, most] = [0, 0];
    registry.checkArchived = async () => {
      running += 1;
      most = Math.max(most, running);
      await setTimeout(20);
      running -= 1;
    };
    const verify = () => copies.verify(bench.path, backupId, calmRun);
    await Promise.all(Array.from({ length: 4 }, verify));
    assert.equal(most, 1);
  });
});
