import assert from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import * as fc from "fast-check";
import { CollectorError } from "../errors.ts";
import { type ArchiveChange, ArchiveChangeSchema } from "../gen/collector/archive_pb.ts";
import { readChanges, writeChanges } from "./change-stream.ts";

interface Folder extends AsyncDisposable {
  readonly root: string;
  readonly path: string;
}

async function openFolder(): Promise<Folder> {
  const root = await mkdtemp(join(tmpdir(), "collector-changes-"));
  const close = (): Promise<void> => rm(root, { recursive: true });
  return { root, path: join(root, "changes"), [Symbol.asyncDispose]: close };
}

function changeOf(entry: MessageInitShape<typeof ArchiveChangeSchema>["entry"]): ArchiveChange {
  return create(ArchiveChangeSchema, entry === undefined ? {} : { entry });
}

function written(id: string, bytes: number): ArchiveChange {
  const value = { id, revision: 5n, labels: { a: "b" }, data: new Uint8Array(bytes).fill(7) };
  return changeOf({ case: "written", value });
}

async function collect(changes: AsyncIterable<ArchiveChange>): Promise<ArchiveChange[]> {
  return Array.fromAsync(changes);
}

function isDamaged(error: unknown): boolean {
  return error instanceof CollectorError && error.reason === "ARCHIVE_DAMAGED";
}

describe("Part changes", () => {
  it("is read as it was written, whatever the sizes", async () => {
    await using folder = await openFolder();
    const size = fc.oneof(
      { weight: 5, arbitrary: fc.nat(300) },
      { weight: 1, arbitrary: fc.integer({ min: 250_000, max: 800_000 }) },
    );
    const change = fc.oneof(
      fc.tuple(fc.string(), size).map(([id, bytes]) => written(id, bytes)),
      fc.string().map((id) => changeOf({ case: "deleted", value: { id, atUs: 3n } })),
      fc.string().map((name) => changeOf({ case: "file", value: { name, sizeBytes: 1n } })),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(change, { maxLength: 30 }), async (changes) => {
        const { count, bytes } = await writeChanges(folder.path, changes);
        assert.equal(count, changes.length);
        assert.equal(bytes, (await readFile(folder.path)).length);
        assert.deepEqual(await collect(readChanges(folder.path)), changes);
        await rm(folder.path);
      }),
      { numRuns: 50 },
    );
  });

  it("is refused when it is cut inside of a change", async () => {
    await using folder = await openFolder();
    await writeChanges(folder.path, [written("a", 200), written("b", 3)]);
    const whole = await readFile(folder.path);
    const [first] = await collect(readChanges(folder.path));
    assert.ok(first !== undefined);
    await writeChanges(join(folder.root, "first"), [first]);
    const border = (await readFile(join(folder.root, "first"))).length;
    for (let length = 1; length < whole.length; length += 1) {
      if (length === border) continue;
      await writeFile(folder.path, whole.subarray(0, length));
      await assert.rejects(collect(readChanges(folder.path)), isDamaged, `length ${length}`);
    }
  });

  it("is refused with a length beyond the limit, a length that is none, and bytes that are no change", async () => {
    await using folder = await openFolder();
    for (const bytes of [
      [0xff, 0xff, 0xff, 0xff, 0x7f],
      Array.from<number>({ length: 12 }).fill(0xff),
      [2, 0x0a, 0x7f],
      [0],
    ]) {
      await writeFile(folder.path, Buffer.from(bytes));
      await assert.rejects(collect(readChanges(folder.path)), isDamaged);
    }
    await rm(folder.path);
    await writeChanges(folder.path, [written("a", 2000)]);
    await assert.rejects(collect(readChanges(folder.path, { changeBytesMax: 1000 })), isDamaged);
    await rm(folder.path);
    await assert.rejects(collect(readChanges(folder.path)), isDamaged);
  });

  it("is refused with a change that takes far more memory than bytes, and takes one that is just large", async () => {
    await using folder = await openFolder();
    const field = ArchiveChangeSchema.field.written.number;
    const unknown = Buffer.from("f87f00".repeat(1_000_000), "hex");
    const labels = Buffer.from("3200".repeat(2_000_000), "hex");
    for (const content of [unknown, labels]) {
      const change = new BinaryWriter().tag(field, WireType.LengthDelimited).bytes(content);
      const bytes = change.finish();
      const length = new BinaryWriter().uint32(bytes.length).finish();
      await writeFile(folder.path, Buffer.concat([length, bytes]));
      await assert.rejects(collect(readChanges(folder.path)), /more memory than the limit/);
    }
    await rm(folder.path);
    const large = changeOf({
      case: "written",
      value: {
        data: new Uint8Array(8 * 1024 * 1024),
        vectors: { a: { values: Array.from({ length: 1_000_000 }, () => 0.5) } },
      },
    });
    await writeChanges(folder.path, [large]);
    assert.deepEqual(await collect(readChanges(folder.path)), [large]);
  });

  it("leaves nothing when what it is made of fails", async () => {
    await using folder = await openFolder();
    function* failing(): Iterable<ArchiveChange> {
      yield written("a", 2_000_000);
      throw new CollectorError("HISTORY_GONE", "no more");
    }
    await assert.rejects(writeChanges(folder.path, failing()), /no more/);
    assert.deepEqual(await readdir(folder.root), []);
  });
});
