import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { zstdCompressSync } from "node:zlib";
import { Decrypter, generateIdentity, identityToRecipient } from "age-encryption";
import * as fc from "fast-check";
import { Compression } from "../gen/collector/collection_repo_pb.ts";
import { contentPath } from "../lib/content-list.ts";
import { complaint, filePart, isRefusal, openBench } from "./testing/archive-bench.ts";
import { block, craft, withParts } from "./testing/crafted-archive.ts";

const mebibyte = 1024 * 1024;

const smallParts: ReadonlyMap<string, Buffer> = new Map([
  [
    "database",
    Buffer.from("a row and a row and a row and a row and a row and a row and a row ".repeat(3)),
  ],
  filePart(Buffer.from("a file")),
]);

describe("An archive", () => {
  it("gives back every part as it was, whatever its size, compressed or not, encrypted or not", async () => {
    await using bench = await openBench();
    const identity = await generateIdentity();
    const recipient = await identityToRecipient(identity);
    const size = fc.oneof(
      fc.nat(300),
      fc.constantFrom(65_535, 65_536, mebibyte - 1, mebibyte, mebibyte + 1, 2 * mebibyte),
    );
    const content = fc
      .tuple(size, fc.boolean())
      .map(([bytes, isNoise]) => (isNoise ? randomBytes(bytes) : Buffer.alloc(bytes, "text ")));
    await fc.assert(
      fc.asyncProperty(
        content,
        fc.array(content, { maxLength: 2 }),
        fc.constantFrom(Compression.ZSTD, Compression.NONE),
        fc.boolean(),
        async (database, files, compression, isEncrypted) => {
          const parts = new Map([["database", database], ...files.map(filePart)]);
          const recipients = isEncrypted ? [recipient] : [];
          const packed = await bench.pack({ parts, compression, recipients });
          const path = join(bench.folder, "a.collector");
          const bytes = await readFile(path);
          assert.equal(packed.sizeBytes, BigInt(bytes.length));
          assert.equal(packed.sha256, createHash("sha256").update(bytes).digest("hex"));
          const identities = isEncrypted ? [identity] : [];
          assert.deepEqual(await bench.archives.manifest(path, identities), packed.manifest);
          const contentsFolder = join(bench.folder, "unpacked");
          await mkdir(contentsFolder);
          const target = join(bench.folder, "t");
          const targets = new Map([["database", target]]);
          const wanted = { targets, contentsFolder };
          const unpacked = await bench.archives.unpack({ path, identities, ...wanted });
          const { manifest, sha256 } = packed;
          assert.deepEqual(unpacked, { manifest, faults: [], sha256 });
          for (const [name, content] of parts) {
            const sha256OfName = name.slice("files/".length);
            const there = name === "database" ? target : contentPath(contentsFolder, sha256OfName);
            assert.ok(content.equals(await readFile(there)));
            await rm(there);
          }
          await rm(contentsFolder, { recursive: true });
        },
      ),
      { numRuns: 40 },
    );
  });

  it("is compressed again soon where a file shrinks again, behind blocks that do not", async () => {
    await using bench = await openBench();
    const content = Buffer.concat([randomBytes(9 * mebibyte), Buffer.alloc(24 * mebibyte)]);
    const { sizeBytes } = await bench.pack({ parts: new Map([filePart(content)]) });
    // Of what shrinks, at most the blocks before the next one that is tried are stored as they are.
    assert.ok(sizeBytes < 17 * mebibyte, `${sizeBytes} bytes`);
    assert.deepEqual((await bench.check()).faults, []);
  });

  it("is an ordinary age file when it is encrypted", async () => {
    await using bench = await openBench();
    const identity = await generateIdentity();
    const recipients = [await identityToRecipient(identity)];
    const parts = new Map([["database", randomBytes(300_000)]]);
    await bench.pack({ parts });
    const path = join(bench.folder, "a.collector");
    const plain = await readFile(path);
    await bench.pack({ parts, recipients });
    const decrypter = new Decrypter();
    decrypter.addIdentity(identity);
    assert.ok(plain.equals(await decrypter.decrypt(await readFile(path))));
  });

  for (const [kind, compression, isEncrypted] of [
    ["plain", Compression.NONE, false],
    ["compressed", Compression.ZSTD, false],
    ["encrypted", Compression.ZSTD, true],
  ] as const) {
    it(`that is ${kind} is refused with any byte changed, and cut at any place`, async () => {
      await using bench = await openBench();
      const identity = await generateIdentity();
      const identities = isEncrypted ? [identity] : [];
      const recipients = isEncrypted ? [await identityToRecipient(identity)] : [];
      await bench.pack({ parts: smallParts, compression, recipients });
      const path = join(bench.folder, "a.collector");
      const whole = await readFile(path);
      assert.equal(await complaint(bench, identities), "");
      const missed: string[] = [];
      for (let at = 0; at < whole.length; at += 1) {
        const changed = Buffer.from(whole);
        changed[at] = (whole[at] ?? 0) ^ (1 << (randomBytes(1).readUInt8() % 8));
        await writeFile(path, changed);
        if ((await complaint(bench, identities)) === "") missed.push(`byte ${at}`);
        await writeFile(path, whole.subarray(0, at));
        if ((await complaint(bench, identities)) === "") missed.push(`length ${at}`);
      }
      assert.deepEqual(missed, []);
      await writeFile(path, whole);
      await appendFile(path, "x");
      assert.notEqual(await complaint(bench, identities), "");
    });
  }

  it("says in which part and where it is damaged, and goes on after that", async () => {
    await using bench = await openBench();
    const parts = new Map([["database", randomBytes(3 * mebibyte)], filePart(randomBytes(100))]);
    await bench.pack({ parts });
    const path = join(bench.folder, "a.collector");
    const bytes = await readFile(path);
    const places = [2 * mebibyte, bytes.length - 100];
    for (const at of places) bytes[at] = (bytes[at] ?? 0) ^ 1;
    await writeFile(path, bytes);
    const target = join(bench.folder, "t");
    const targets = new Map([["database", target]]);
    const { faults } = await bench.archives.unpack({ path, identities: [], targets });
    const [first, second, third] = faults;
    assert.equal(first?.part, "database");
    assert.ok(first !== undefined && places[0] !== undefined);
    const before = places[0] - Number(first.offset);
    assert.ok(before >= 0 && before <= mebibyte + 16, `${before} bytes before the damage`);
    assert.match(second?.part ?? "", /^files\//);
    assert.equal(third?.part, "trailer");
    assert.equal((await readdir(bench.folder)).includes("t"), false);
  });

  it("leaves nothing when packing is cancelled, or fails", async () => {
    await using bench = await openBench();
    const parts = new Map([["database", Buffer.alloc(64 * mebibyte)]]);
    const controller = new AbortController();
    const packing = bench.pack({
      parts,
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await assert.rejects(packing, isRefusal("CANCELLED"));
    assert.deepEqual(await readdir(bench.folder), ["database"]);
    const wrong = new Map([[`files/${"0".repeat(64)}`, Buffer.from("not this")]]);
    await assert.rejects(bench.pack({ parts: wrong }), isRefusal("STORAGE_CORRUPT"));
    const recipients = ["age1nobody"];
    await assert.rejects(bench.pack({ parts, recipients }), isRefusal("ARGUMENT_INVALID"));
    assert.equal((await readdir(bench.folder)).includes("a.collector"), false);
  });

  it("needs a key that fits when it is encrypted", async () => {
    await using bench = await openBench();
    const recipients = [await identityToRecipient(await generateIdentity())];
    await bench.pack({ parts: smallParts, recipients });
    const other = await generateIdentity();
    for (const identities of [[], [other], ["no identity"]]) {
      await assert.rejects(bench.check(identities), isRefusal("KEY_UNAVAILABLE"));
      const path = join(bench.folder, "a.collector");
      await assert.rejects(bench.archives.manifest(path, identities), isRefusal("KEY_UNAVAILABLE"));
    }
  });
});

describe("A crafted archive", () => {
  const end = block(3, 0, Buffer.alloc(0));
  const text = Buffer.from("text");
  const bomb = Buffer.alloc(64 * mebibyte);
  const zeros = Buffer.alloc(mebibyte);
  const cases: readonly (readonly [string, Buffer, string | RegExp])[] = [
    [
      "as a writer makes it",
      craft({ manifest: withParts(["database", text]), blocks: [block(1, 4, text), end] }),
      "",
    ],
    ["of a newer format", craft({ version: 3 }), "ARCHIVE_TOO_NEW"],
    [
      "with a huge manifest",
      craft({ manifestBytes: 0xffffffff }),
      /^header: .*length of its manifest/,
    ],
    [
      "with a manifest of many fields that nobody knows",
      craft({ encoded: Buffer.from(`0801${"f87f00".repeat(1_000_000)}`, "hex") }),
      "ARCHIVE_INVALID",
    ],
    [
      "with a manifest of many files that are empty",
      craft({ encoded: Buffer.from(`080122c08db701${"0a00".repeat(1_500_000)}`, "hex") }),
      "ARCHIVE_INVALID",
    ],
    ["with a manifest beyond its end", craft({ manifestBytes: mebibyte }), /^header: .*too early/],
    [
      "with a path as a part",
      craft({ manifest: withParts(["../../etc/passwd", text]) }),
      "ARCHIVE_INVALID",
    ],
    [
      "with a part twice",
      craft({ manifest: withParts(["database", text], ["database", text]) }),
      "ARCHIVE_INVALID",
    ],
    [
      "with a file under another hash",
      craft({ manifest: withParts([`files/${"0".repeat(64)}`, text]) }),
      "ARCHIVE_INVALID",
    ],
    [
      "with content of another hash",
      craft({
        manifest: withParts(["database", text]),
        blocks: [block(1, 4, Buffer.from("next")), end],
      }),
      /SHA-256/,
    ],
    [
      "with less content than it says",
      craft({ manifest: withParts(["database", text]), blocks: [end] }),
      /has 0 bytes/,
    ],
    [
      "with more content than it says",
      craft({
        manifest: withParts(["database", text]),
        blocks: [block(1, 4, text), block(1, 4, text), end],
      }),
      /more bytes/,
    ],
    [
      "with a huge block",
      craft({
        manifest: withParts(["database", bomb]),
        blocks: [block(1, 0xffffffff, text, 0xffffffff)],
      }),
      /header of a block/,
    ],
    [
      "with a block that grows",
      craft({
        manifest: withParts(["database", bomb]),
        blocks: [block(2, mebibyte, zstdCompressSync(bomb)), end],
      }),
      /does not hold what it says/,
    ],
    [
      "with a block that shrinks",
      craft({
        manifest: withParts(["database", zeros]),
        blocks: [block(2, mebibyte, zstdCompressSync(text)), end],
      }),
      /does not hold what it says/,
    ],
    [
      "of nothing but text",
      Buffer.from("not an archive at all, but long enough to be one"),
      "ARCHIVE_INVALID",
    ],
    ["without a byte", Buffer.alloc(0), "ARCHIVE_INVALID"],
  ];
  for (const [name, bytes, expected] of cases) {
    it(`${name} is answered as such`, async () => {
      await using bench = await openBench();
      await writeFile(join(bench.folder, "a.collector"), bytes);
      const found = await complaint(bench, []);
      if (typeof expected === "string") assert.equal(found, expected);
      else assert.match(found, expected);
    });
  }

  it("that is missing is one that is damaged", async () => {
    await using bench = await openBench();
    assert.match(await complaint(bench, []), /^header: .*missing/);
    const path = join(bench.folder, "a.collector");
    await assert.rejects(bench.archives.manifest(path, []), isRefusal("ARCHIVE_DAMAGED"));
  });
});
