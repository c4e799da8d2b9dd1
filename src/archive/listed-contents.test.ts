import assert from "node:assert/strict";
import { randomInt } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { ArchiveManifest } from "../gen/collector/archive_pb.ts";
import { contentPath } from "../lib/content-list.ts";
import { contentsOf, namedContentsMax, plainBytesOf } from "./format.ts";
import { type Bench, complaint, filePart, openBench } from "./testing/archive-bench.ts";
import { block, craft, digest, withParts } from "./testing/crafted-archive.ts";

const database = Buffer.from("the database");
const contents = new Map(
  Array.from({ length: namedContentsMax + 1 }, (_, index) => filePart(Buffer.from(`no ${index}`))),
);

/** One of format 2, which has the most contents that format 1 could name, and one more. */
async function packMany(bench: Bench): Promise<ArchiveManifest> {
  const parts = new Map([["database", database], ...contents]);
  return (await bench.pack({ parts })).manifest;
}

describe("the contents of an archive", () => {
  it("are listed in its manifest if they are many, in 40 bytes each, and come back", async () => {
    await using bench = await openBench();
    const manifest = await packMany(bench);
    assert.equal(manifest.formatVersion, 2);
    assert.deepEqual(
      manifest.parts.map(({ name }) => name),
      ["database"],
    );
    assert.equal(manifest.contentSha256.length, contents.size * 32);
    assert.equal(manifest.contentSizes.length, contents.size * 8);
    const sizes = [database, ...contents.values()].map(({ length }) => BigInt(length));
    assert.equal(
      plainBytesOf(manifest),
      sizes.reduce((sum, size) => sum + size, 0n),
    );
    const path = join(bench.folder, "a.collector");
    const contentsFolder = join(bench.folder, "unpacked");
    await mkdir(contentsFolder);
    const targets = new Map([["database", join(bench.folder, "t")]]);
    const request = { path, identities: [], targets, contentsFolder };
    assert.deepEqual((await bench.archives.unpack(request)).faults, []);
    for (const { sha256 } of contentsOf(manifest)) {
      const content = await readFile(contentPath(contentsFolder, sha256));
      assert.ok(contents.get(`files/${sha256}`)?.equals(content));
    }
    assert.ok(database.equals(await readFile(join(bench.folder, "t"))));
  });

  it("are parts by name if they are few, as every reader knows them", async () => {
    await using bench = await openBench();
    const few = [...contents].slice(0, namedContentsMax);
    const { manifest } = await bench.pack({ parts: new Map([["database", database], ...few]) });
    assert.deepEqual([manifest.formatVersion, manifest.contentSizes.length], [1, 0]);
    assert.equal(manifest.parts.length, namedContentsMax + 1);
    assert.equal(contentsOf(manifest).count, namedContentsMax);
    assert.equal(await complaint(bench, []), "");
  });

  it("are refused with a byte changed, or cut, and then nothing of them is left", async () => {
    await using bench = await openBench();
    await packMany(bench);
    const path = join(bench.folder, "a.collector");
    const whole = await readFile(path);
    assert.equal(await complaint(bench, []), "");
    const missed: string[] = [];
    for (let round = 0; round < 150; round += 1) {
      const at = randomInt(whole.length);
      const changed = Buffer.from(whole);
      changed[at] = (whole[at] ?? 0) ^ (1 << randomInt(8));
      await writeFile(path, changed);
      if ((await complaint(bench, [])) === "") missed.push(`byte ${at}`);
      await writeFile(path, whole.subarray(0, at));
      if ((await complaint(bench, [])) === "") missed.push(`length ${at}`);
    }
    assert.deepEqual(missed, []);
    await writeFile(path, whole.subarray(0, whole.length - 1));
    const contentsFolder = join(bench.folder, "unpacked");
    await mkdir(contentsFolder);
    const request = { path, identities: [], targets: new Map(), contentsFolder };
    assert.notDeepEqual((await bench.archives.unpack(request)).faults, []);
    assert.deepEqual(await readdir(contentsFolder), []);
    await rm(path);
  });

  const [one, other] = [Buffer.from("one"), Buffer.from("other")].sort((a, b) =>
    digest(a).compare(digest(b)),
  ) as [Buffer, Buffer];
  const listed = (...parts: readonly Buffer[]): ArchiveManifest => {
    const sizes = Buffer.alloc(parts.length * 8);
    for (const [index, { length }] of parts.entries()) {
      sizes.writeBigUInt64LE(BigInt(length), index * 8);
    }
    return {
      ...withParts(),
      formatVersion: 2,
      contentSha256: Buffer.concat(parts.map(digest)),
      contentSizes: sizes,
    };
  };
  const end = block(3, 0, Buffer.alloc(0));
  const blocks = [block(1, one.length, one), end, block(1, other.length, other), end];
  const huge = Buffer.alloc(16, 0xff);
  const cases: readonly (readonly [string, Buffer, string | RegExp])[] = [
    ["as a writer lists them", craft({ version: 2, manifest: listed(one, other), blocks }), ""],
    [
      "in another order",
      craft({ version: 2, manifest: listed(other, one), blocks: blocks.toReversed() }),
      "ARCHIVE_INVALID",
    ],
    ["twice", craft({ version: 2, manifest: listed(one, one), blocks }), "ARCHIVE_INVALID"],
    [
      "without sizes",
      craft({ version: 2, manifest: { ...listed(one), contentSizes: Buffer.alloc(7) } }),
      "ARCHIVE_INVALID",
    ],
    [
      "of sizes that cannot be",
      craft({ version: 2, manifest: { ...listed(one, other), contentSizes: huge } }),
      "ARCHIVE_INVALID",
    ],
    [
      "listed in format 1",
      craft({ manifest: { ...listed(one), formatVersion: 1 } }),
      "ARCHIVE_INVALID",
    ],
    ["of two formats", craft({ version: 1, manifest: listed(one) }), "ARCHIVE_INVALID"],
    [
      "named in format 2",
      craft({ version: 2, manifest: { ...withParts(filePart(one)), formatVersion: 2 } }),
      "ARCHIVE_INVALID",
    ],
    [
      "that are others",
      craft({ version: 2, manifest: listed(one), blocks: [block(1, 3, Buffer.from("two")), end] }),
      /SHA-256|bytes/,
    ],
    ["that do not come", craft({ version: 2, manifest: listed(one, other) }), /too early|header/],
  ];
  for (const [name, bytes, expected] of cases) {
    it(`${name} are answered as such`, async () => {
      await using bench = await openBench();
      await writeFile(join(bench.folder, "a.collector"), bytes);
      const found = await complaint(bench, []);
      if (typeof expected === "string") assert.equal(found, expected);
      else assert.match(found, expected);
    });
  }
});
