import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { faultSeed } from "../../../test/support/fault-seed.ts";
import { Random } from "../../../test/support/random.ts";
import { product } from "../../collections/testing/fixture.ts";
import { CollectorError } from "../../errors.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import {
  PushCollectionRequest_MetadataSchema,
  type PushCollectionResponse,
} from "../../gen/collector/collection_repo_pb.ts";
import { CreateRequestSchema } from "../../gen/collector/collection_server_pb.ts";
import { defaultLimits, type Limits } from "../../lib/limits.ts";
import { silentLog } from "../../lib/log.ts";
import { TransferSlots } from "../../lib/transfer-slots.ts";
import { InstallerFixture } from "../testing/installer-fixture.ts";
import { type ArchiveChunk, chunkBytesMax } from "./archive-chunks.ts";
import { IncomingTransfers } from "./incoming-transfers.ts";
import type { PushMetadata } from "./transfer-requests.ts";

/** Changed archives; more on demand. */
const flips = Number(process.env["COLLECTOR_FLIPS"] ?? 1000);
const seed = faultSeed();

/** What takes pushes, beside a collection `source` and its archive. */
class PushBench implements AsyncDisposable {
  readonly fixture: InstallerFixture;
  readonly archive: Buffer;
  readonly incoming: IncomingTransfers;
  readonly #folder: string;

  private constructor(fixture: InstallerFixture, archive: Buffer, limits: Limits) {
    this.fixture = fixture;
    this.archive = archive;
    this.#folder = join(fixture.folder, "incoming");
    const { archives, installer, catalog, operations } = fixture;
    this.incoming = new IncomingTransfers({
      archives,
      installer,
      catalog,
      operations,
      keys: { identities: [] },
      verifyRegistry: () => assert.fail("it is of no registry"),
      keepBackup: () => assert.fail("it is not to be kept"),
      slots: new TransferSlots({
        slotsMax: limits.transfersMax,
        what: "archives are on their way",
        limit: "transfersMax",
      }),
      limits,
      log: silentLog,
      folder: this.#folder,
    });
  }

  static async open(limits: Partial<Limits> = {}): Promise<PushBench> {
    const fixture = await InstallerFixture.open();
    const messageType = { messageName: "shop.v1.Product" };
    await fixture.catalog.create(
      create(CollectionSchema, { namespace: "default", name: "source", messageType }),
    );
    const source = fixture.catalog.open("default", "source");
    for (let at = 0; at < 5; at += 1) {
      const item = product({ title: `chair ${at}` });
      await source.create(create(CreateRequestSchema, { id: `r${at}`, item }));
    }
    const { path } = await fixture.pack("source");
    await mkdir(join(fixture.folder, "incoming"));
    return new PushBench(fixture, await readFile(path), { ...defaultLimits, ...limits });
  }

  push(bytes: Uint8Array, metadata: Partial<PushMetadata> = {}): Promise<PushCollectionResponse> {
    const all = create(PushCollectionRequest_MetadataSchema, {
      destName: "copy",
      totalSize: BigInt(bytes.length),
      includeFiles: true,
      ...metadata,
    });
    const { signal } = new AbortController();
    return this.incoming.receive(all, "default", chunksOf(bytes), signal);
  }

  /** Pushes what must be refused, and looks that nothing is left of it. */
  async refused(bytes: Uint8Array, metadata: Partial<PushMetadata> = {}): Promise<CollectorError> {
    const before = await this.#traces();
    const error = await this.push(bytes, metadata).then(
      () => assert.fail("it was taken"),
      (failure: unknown) => failure,
    );
    assert.ok(error instanceof CollectorError, String(error));
    assert.deepEqual(await this.#traces(), before);
    return error;
  }

  async #traces(): Promise<unknown> {
    return [await this.fixture.traces(), await readdir(this.#folder)];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.incoming[Symbol.asyncDispose]();
    await this.fixture[Symbol.asyncDispose]();
  }
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<ArchiveChunk> {
  for (let at = 0; at < bytes.length; at += chunkBytesMax) {
    yield { bytes: bytes.subarray(at, at + chunkBytesMax), crc32: undefined };
  }
}

describe("pushes that are not what they should be", () => {
  it("are refused with any byte changed, and cut at any place, and leave what was there", async (t) => {
    await using bench = await PushBench.open();
    const { archive } = bench;
    const random = new Random(seed);
    const seen = new Map<string, number>();
    for (let round = 0; round < flips; round += 1) {
      const at = random.below(archive.length);
      const isCut = round % 4 === 0 && at > 0;
      const bytes = isCut ? archive.subarray(0, at) : Buffer.from(archive);
      if (!isCut) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      const { reason, message } = await bench.refused(bytes);
      const isOurs = reason === "ARCHIVE_DAMAGED" || reason === "ARCHIVE_INVALID";
      assert.ok(isOurs, `byte ${at}: ${reason} ${message}`);
      seen.set(reason, (seen.get(reason) ?? 0) + 1);
    }
    t.diagnostic([...seen].map(([reason, count]) => `${reason} ${count}`).join(", "));
    assert.ok((seen.get("ARCHIVE_DAMAGED") ?? 0) > (seen.get("ARCHIVE_INVALID") ?? 0));
    // It was the archive that is taken as it is.
    await bench.push(archive);
  });

  it("are refused if they are no archives", async () => {
    await using bench = await PushBench.open();
    for (const bytes of [
      Buffer.from("no archive"),
      Buffer.alloc(3_000_000, 7),
      Buffer.from("SQLite format 3\0 and so on"),
      Buffer.from("age-encryption.org/v1\n-> X25519 x\ny\n--- z\n"),
    ]) {
      const { reason } = await bench.refused(bytes);
      assert.ok(["ARCHIVE_INVALID", "ARCHIVE_DAMAGED", "KEY_UNAVAILABLE"].includes(reason), reason);
    }
  });

  it("are refused if they are not what was said of them, naming that", async () => {
    await using bench = await PushBench.open();
    const { archive } = bench;
    const sha256 = new Uint8Array(createHash("sha256").update(archive).digest());
    const cases: readonly [string, Partial<PushMetadata>, string][] = [
      ["record_count", { recordCount: 6n }, "ARGUMENT_INVALID"],
      ["record_count", { recordCount: -1n }, "ARGUMENT_INVALID"],
      ["file_count", { fileCount: 1n }, "ARGUMENT_INVALID"],
      ["message_type", { messageType: typeRef("shop.v1.Review") }, "ARGUMENT_INVALID"],
      ["sha256", { sha256: sha256.map((byte) => byte ^ 1) }, "ARCHIVE_DAMAGED"],
      ["sha256", { sha256: new Uint8Array(31) }, "ARGUMENT_INVALID"],
      ["total_size", { totalSize: BigInt(archive.length + 1) }, "CONTENT_MISMATCH"],
      ["total_size", { totalSize: BigInt(archive.length - 1) }, "ARGUMENT_INVALID"],
      ["total_size", { totalSize: 0n }, "ARGUMENT_MISSING"],
      ["total_size", { totalSize: -1n }, "ARGUMENT_INVALID"],
      ["total_size", { totalSize: BigInt(defaultLimits.archiveBytesMax) + 1n }, "FILE_TOO_LARGE"],
      ["format_version", { formatVersion: 3 }, "ARCHIVE_TOO_NEW"],
      ["format_version", { formatVersion: -1 }, "ARGUMENT_INVALID"],
      ["transfer_id", { transferId: "short" }, "ARGUMENT_INVALID"],
      ["transfer_id", { transferId: "x".repeat(65) }, "ARGUMENT_INVALID"],
      ["transfer_id", { transferId: "../../../../etc/passwd" }, "ARGUMENT_INVALID"],
      ["offset", { offset: 5n }, "ARGUMENT_INVALID"],
      ["offset", { offset: -5n }, "ARGUMENT_INVALID"],
      ["refresh", { refresh: true, overwrite: true }, "ARGUMENT_INVALID"],
      ["base_revision", { baseRevision: -1n, baseIncarnation: "x" }, "ARGUMENT_INVALID"],
      ["base_incarnation", { baseRevision: 1n }, "ARGUMENT_MISSING"],
      ["size_unknown", { sizeUnknown: true }, "ARGUMENT_INVALID"],
      ["final_size", { sizeUnknown: true, totalSize: 0n }, "CONTENT_MISMATCH"],
      ["sha256", { verifyOnly: true, sha256 }, "ARGUMENT_INVALID"],
      ["dest_name", { destName: "../x" }, "NAME_INVALID"],
      ["dest_namespace", { destNamespace: "a/b" }, "NAME_INVALID"],
    ];
    for (const [field, metadata, reason] of cases) {
      const error = await bench.refused(archive, metadata);
      assert.equal(error.reason, reason, `${field}: ${error.message}`);
      assert.deepEqual(
        error.violations.map((violation) => violation.field),
        [field],
        error.message,
      );
    }
    assert.equal(
      (await bench.refused(archive, { destNamespace: "system" })).reason,
      "SYSTEM_READ_ONLY",
    );
    const taken = { destName: "source", destNamespace: "default" };
    assert.equal((await bench.refused(archive, taken)).reason, "COLLECTION_EXISTS");
    assert.equal(
      (await bench.refused(archive, { destName: "source" })).reason,
      "COLLECTION_EXISTS",
    );
    const resumed = { transferId: "0123456789abcdef", offset: 5n };
    assert.equal((await bench.refused(archive, resumed)).reason, "TRANSFER_NOT_FOUND");
    await bench.push(archive, { sha256, recordCount: 5n, messageType: typeRef("shop.v1.Product") });
  });

  it("are refused if they are for a disk that has no room for them", async () => {
    await using bench = await PushBench.open({ diskReserveBytes: Number.MAX_SAFE_INTEGER });
    for (const transferId of ["", "0123456789abcdef"]) {
      const error = await bench.refused(bench.archive, { transferId });
      assert.equal(error.reason, "DISK_FULL");
      assert.ok((error.retryAfterMs ?? 0) > 0);
    }
  });

  it("are refused chunk by chunk, and what came before stays to be gone on with", async () => {
    await using bench = await PushBench.open();
    const { archive, incoming } = bench;
    const transferId = "0123456789abcdef";
    const half = archive.length >> 1;
    const begin = { bytes: archive.subarray(0, half), crc32: undefined };
    const bad: readonly [ArchiveChunk, string][] = [
      [{ bytes: archive.subarray(half), crc32: 1 }, "CONTENT_MISMATCH"],
      [{ bytes: new Uint8Array(), crc32: undefined }, "ARGUMENT_INVALID"],
      [{ bytes: new Uint8Array(chunkBytesMax + 1), crc32: undefined }, "ARGUMENT_INVALID"],
      [{ bytes: archive, crc32: undefined }, "ARGUMENT_INVALID"],
    ];
    const totalSize = BigInt(archive.length);
    const { signal } = new AbortController();
    const metadata = create(PushCollectionRequest_MetadataSchema, {
      transferId,
      totalSize,
      destName: "copy",
    });
    for (const [chunk, reason] of bad) {
      async function* chunks() {
        yield begin;
        yield chunk;
      }
      await assert.rejects(incoming.receive(metadata, "default", chunks(), signal), { reason });
      assert.equal((await incoming.get(transferId)).receivedBytes, BigInt(half));
    }
    const rest = { ...metadata, offset: BigInt(half) };
    const answer = await incoming.receive(
      rest,
      "default",
      chunksOf(archive.subarray(half)),
      signal,
    );
    assert.equal(answer.recordsCloned, 5n);
  });
});

describe("pushes whose size is not told before", () => {
  const transferId = "0123456789abcdef";
  const metadata = create(PushCollectionRequest_MetadataSchema, {
    transferId,
    sizeUnknown: true,
    includeFiles: true,
    destName: "copy",
  });
  const { signal } = new AbortController();
  async function* ending(bytes: Uint8Array, finalBytes: number): AsyncGenerator<ArchiveChunk> {
    yield* chunksOf(bytes);
    yield { bytes: new Uint8Array(), crc32: undefined, finalBytes: BigInt(finalBytes) };
  }

  it("are taken when their end was said, and gone on with until then", async () => {
    await using bench = await PushBench.open();
    const { archive, incoming } = bench;
    const half = archive.length >> 1;
    for (const chunks of [
      chunksOf(archive.subarray(0, half)),
      ending(archive.subarray(0, half), archive.length),
      ending(archive.subarray(0, half), 1),
    ]) {
      const refused = incoming.receive(metadata, "default", chunks, signal);
      await assert.rejects(refused, ({ reason }: CollectorError) =>
        ["CONTENT_MISMATCH", "ARGUMENT_INVALID"].includes(reason),
      );
      assert.equal((await incoming.get(transferId)).receivedBytes, BigInt(half));
    }
    const rest = { ...metadata, offset: BigInt(half) };
    const chunks = ending(archive.subarray(half), archive.length);
    const answer = await incoming.receive(rest, "default", chunks, signal);
    assert.equal(answer.recordsCloned, 5n);
    assert.equal(answer.bytesReceived, BigInt(archive.length));
    assert.equal((await incoming.get(transferId)).receivedBytes, BigInt(archive.length));
  });

  it("are refused and removed when they are larger than any archive may be", async () => {
    await using bench = await PushBench.open({ archiveBytesMax: 1000 });
    const { archive, incoming } = bench;
    assert.ok(archive.length > 1000);
    const refused = incoming.receive(metadata, "default", ending(archive, archive.length), signal);
    await assert.rejects(refused, { reason: "FILE_TOO_LARGE" });
    await assert.rejects(incoming.get(transferId), { reason: "TRANSFER_NOT_FOUND" });
  });
});

describe("pushes that are only verified", () => {
  it("make nothing, whatever has the name and however damaged they are", async () => {
    await using bench = await PushBench.open();
    const { archive } = bench;
    const before = await bench.fixture.traces();
    const only = { verifyOnly: true, destName: "source" };
    const { verification, collectionId, bytesReceived } = await bench.push(archive, only);
    assert.equal(verification?.isValid, true);
    assert.equal(verification.backup?.recordCount, 5n);
    assert.equal(collectionId, "");
    assert.equal(bytesReceived, BigInt(archive.length));
    const random = new Random(seed);
    for (let round = 0; round < 50; round += 1) {
      const at = 1 + random.below(archive.length - 1);
      const bytes = round % 4 === 0 ? archive.subarray(0, at) : Buffer.from(archive);
      if (bytes.length === archive.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      const found = (await bench.push(bytes, only)).verification;
      assert.equal(found?.isValid, false, `byte ${at}`);
      assert.ok(found.errorMessage.length > 0 && found.problems.length > 0);
    }
    assert.deepEqual(await bench.fixture.traces(), before);
  });
});

function typeRef(messageName: string): PushMetadata["messageType"] {
  return { $typeName: "collector.MessageTypeRef", namespace: "", messageName };
}
