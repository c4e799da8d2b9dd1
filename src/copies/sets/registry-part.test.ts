import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import { WireType } from "@bufbuild/protobuf/wire";
import { DescriptorProtoSchema, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { ArchivedRegistrySchema } from "../../gen/collector/archive_pb.ts";
import { MetadataSchema, NamespacedNameSchema } from "../../gen/collector/common_pb.ts";
import { NamespaceSchema } from "../../gen/collector/namespaces_pb.ts";
import { RegisteredProtoSchema, RegisteredServiceSchema } from "../../gen/collector/registry_pb.ts";
import { decodeEntry, encodeEntry, type PartEntry } from "./registry-entry.ts";
import { readRegistryPart, writeRegistryPart } from "./registry-part.ts";

const { signal } = new AbortController();

class Part implements AsyncDisposable {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async open(): Promise<Part> {
    return new Part(await mkdtemp(join(tmpdir(), "collector-registry-part-")));
  }

  get path(): string {
    return join(this.#folder, "registry");
  }

  async write(entries: readonly PartEntry[]): Promise<bigint> {
    await rm(this.path, { force: true });
    return await writeRegistryPart(this.path, entries, signal);
  }

  async read(): Promise<PartEntry[]> {
    const entries: PartEntry[] = [];
    for await (const { encoded, ...entry } of readRegistryPart(this.path, signal)) {
      assert.equal(decodeEntry(encoded).kind, entry.kind);
      entries.push(entry);
    }
    return entries;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true });
  }
}

/** Entries of all kinds, some of them larger than what is read at once. */
const entries: fc.Arbitrary<PartEntry[]> = fc.array(
  fc
    .record({
      kind: fc.constantFrom("namespace", "proto", "service", "collection"),
      name: fc.string({ maxLength: 20 }),
      repeat: fc.oneof(fc.constant(1), fc.constantFrom(10, 40_000)),
    })
    .map(({ kind, name, repeat }): PartEntry => {
      const text = name.repeat(repeat);
      switch (kind) {
        case "namespace":
          return { kind, value: create(NamespaceSchema, { name: text }) };
        case "proto":
          return { kind, value: create(RegisteredProtoSchema, { namespace: text, version: 3n }) };
        case "service":
          return { kind, value: create(RegisteredServiceSchema, { serviceName: text }) };
        default:
          return { kind: "collection", value: create(NamespacedNameSchema, { name: text }) };
      }
    }),
  { maxLength: 30 },
);

/** What takes some 60 MiB of memory, and no megabyte on the wire. */
const unknownFields = {
  $unknown: Array.from({ length: 300_000 }, () => {
    return { no: 2000, wireType: WireType.Varint, data: Uint8Array.of(0) };
  }),
};

describe("part registry", () => {
  it("gives back what was written, entry by entry, and is one message to others", async () => {
    await using part = await Part.open();
    await fc.assert(
      fc.asyncProperty(entries, async (given) => {
        assert.equal(await part.write(given), BigInt(given.length));
        assert.deepEqual(await part.read(), given);
        const whole = fromBinary(ArchivedRegistrySchema, await readFile(part.path));
        const { namespaces, protos, services, collections } = whole;
        const lists = [namespaces, protos, services, collections];
        assert.equal(lists.flat().length, given.length);
      }),
      { numRuns: 60 },
    );
  });

  it("is refused if its bytes are none, whatever they are", async () => {
    await using part = await Part.open();
    await part.write([
      { kind: "namespace", value: create(NamespaceSchema, { name: "shop" }) },
      { kind: "service", value: create(RegisteredServiceSchema, { serviceName: "s.S" }) },
    ]);
    const whole = await readFile(part.path);
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 40 }),
      fc.tuple(fc.nat(whole.length - 1), fc.nat(255)).map(([at, value]) => {
        const changed = Uint8Array.from(whole);
        changed[at] = value;
        return changed;
      }),
      fc.nat(whole.length - 1).map((length) => Uint8Array.from(whole.subarray(0, length))),
    );
    await fc.assert(
      fc.asyncProperty(bytes, async (given) => {
        await writeFile(part.path, given);
        try {
          await part.read();
        } catch (error) {
          assert.ok(error instanceof CollectorError, String(error));
          assert.equal(error.reason, "ARCHIVE_INVALID");
        }
      }),
      { numRuns: 300 },
    );
    // An entry that says to be larger than memory.
    await writeFile(part.path, Uint8Array.from([10, 255, 255, 255, 255, 127]));
    await assert.rejects(part.read(), { reason: "ARCHIVE_INVALID" });
  });

  it("is refused if it would take far more memory than bytes, whatever of it does", async () => {
    await using part = await Part.open();
    const heavyFile = (name: string, messages: number): PartEntry => {
      const fileDescriptor = create(FileDescriptorProtoSchema, { name });
      const messageType = Array.from({ length: messages }, () => create(DescriptorProtoSchema));
      const file = { ...fileDescriptor, messageType };
      const value = create(RegisteredProtoSchema, { namespace: "shop", fileDescriptor: file });
      return { kind: "proto", value };
    };
    const namespace: PartEntry = {
      kind: "namespace",
      value: create(NamespaceSchema, { name: "shop" }),
    };
    const service: PartEntry = {
      kind: "service",
      value: create(RegisteredServiceSchema, {
        namespace: "shop",
        metadata: { ...create(MetadataSchema), ...unknownFields },
      }),
    };
    const collection: PartEntry = {
      kind: "collection",
      value: {
        ...create(NamespacedNameSchema, { namespace: "shop", name: "a" }),
        ...unknownFields,
      },
    };
    const fits = 40_000;
    const crafted: Readonly<Record<string, readonly [PartEntry[], RegExp]>> = {
      "a file": [[namespace, heavyFile("a", 200_000)], /an entry takes more memory/],
      files: [
        [namespace, ...["a", "b", "c", "d", "e", "f", "g"].map((name) => heavyFile(name, fits))],
        /newest files and the services of a namespace/,
      ],
      services: [[namespace, service, service, service], /the services of a namespace/],
      collections: [[collection, collection, collection], /its collections/],
    };
    for (const [what, [entries, expected]] of Object.entries(crafted)) {
      await writeFile(part.path, Buffer.concat(entries.map(encodeEntry)));
      const refused = (reason: string) => (error: unknown) =>
        error instanceof CollectorError && error.reason === reason && expected.test(error.message);
      await assert.rejects(part.read(), refused("ARCHIVE_INVALID"), what);
      await assert.rejects(part.write(entries), refused("QUOTA_EXCEEDED"), what);
    }
    // The versions of a file are not in memory together.
    const versions = Array.from({ length: 8 }, () => heavyFile("a", fits));
    assert.equal(await part.write([namespace, ...versions]), 9n);
    assert.equal((await part.read()).length, 9);
  });

  it("leaves nothing if it cannot be written, and says why", async () => {
    await using part = await Part.open();
    const large = create(NamespaceSchema, { name: "x".repeat(5 * 1024 * 1024) });
    await assert.rejects(part.write([{ kind: "namespace", value: large }]), {
      reason: "QUOTA_EXCEEDED",
    });
    await assert.rejects(readFile(part.path), { code: "ENOENT" });
  });
});
