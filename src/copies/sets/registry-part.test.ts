import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { ArchivedRegistrySchema } from "../../gen/collector/archive_pb.ts";
import { NamespacedNameSchema } from "../../gen/collector/common_pb.ts";
import { NamespaceSchema } from "../../gen/collector/namespaces_pb.ts";
import { RegisteredProtoSchema, RegisteredServiceSchema } from "../../gen/collector/registry_pb.ts";
import { type PartEntry, readRegistryPart, writeRegistryPart } from "./registry-part.ts";

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

  read(): Promise<PartEntry[]> {
    return Array.fromAsync(readRegistryPart(this.path, signal));
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

  it("leaves nothing if it cannot be written, and says why", async () => {
    await using part = await Part.open();
    const large = create(NamespaceSchema, { name: "x".repeat(5 * 1024 * 1024) });
    await assert.rejects(part.write([{ kind: "namespace", value: large }]), {
      reason: "QUOTA_EXCEEDED",
    });
    await assert.rejects(readFile(part.path), { code: "ENOENT" });
  });
});
