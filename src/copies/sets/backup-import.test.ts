import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { randomUUIDv7 } from "node:crypto";
import {
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readFile,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { timestampNow } from "@bufbuild/protobuf/wkt";
import type { Archives } from "../../archive/archive.ts";
import { createArchives } from "../../archive/archive-pool.ts";
import { CollectorError } from "../../errors.ts";
import type { ArchiveManifest, ArchiveManifestSchema } from "../../gen/collector/archive_pb.ts";
import {
  type BackupMetadata,
  BackupMetadata_Content,
} from "../../gen/collector/collection_repo_pb.ts";
import { BackupFolders } from "../backup-folders.ts";
import { asOrdinaryUser } from "../testing/ordinary-user.ts";
import { BackupImport, type ImportedBackups } from "./backup-import.ts";

type Manifest = Exclude<MessageInitShape<typeof ArchiveManifestSchema>, ArchiveManifest>;

const { signal } = new AbortController();

/** A backup folder, and a list of backups in memory. */
class Bench implements AsyncDisposable {
  readonly own: string;
  readonly other: string;
  readonly known: BackupMetadata[] = [];
  readonly #archives: Archives;
  readonly #import: BackupImport;
  readonly #data: string;

  private constructor(folder: string, folders: BackupFolders) {
    this.own = folders.own;
    this.other = join(folder, "other");
    this.#data = join(folder, "data");
    this.#archives = createArchives({ threads: 1 });
    const backups = {
      all: () => this.known,
      adopt: async (backup: BackupMetadata): Promise<BackupMetadata> => {
        if (this.known.some(({ backupId }) => backupId === backup.backupId)) {
          throw new CollectorError("BACKUP_EXISTS", "it is known");
        }
        this.known.push(backup);
        return backup;
      },
    };
    const keys = { identities: [] };
    this.#import = new BackupImport({ backups, folders, archives: this.#archives, keys });
  }

  static async open(): Promise<Bench> {
    const folder = await realpath(await mkdtemp(join(tmpdir(), "collector-import-")));
    await mkdir(join(folder, "other"));
    await writeFile(join(folder, "data"), "the data");
    return new Bench(
      folder,
      await BackupFolders.open(join(folder, "own"), [join(folder, "other")]),
    );
  }

  /** Puts an archive into the folder, with a manifest of its own. @returns its id */
  async put(name: string, manifest: Manifest = {}): Promise<string> {
    const backupId = manifest.backupId ?? randomUUIDv7();
    const path = join(this.own, name);
    await mkdir(join(path, ".."), { recursive: true });
    await this.#archives.pack({
      path,
      manifest: {
        content: BackupMetadata_Content.COLLECTION,
        collection: { namespace: "shop", name: "prices", collectionId: "c1" },
        moment: timestampNow(),
        incarnation: "i1",
        revision: 5n,
        recordCount: 3n,
        backupId,
        ...manifest,
      },
      parts: [{ name: manifest.base === undefined ? "database" : "changes", path: this.#data }],
      recipients: [],
    });
    return backupId;
  }

  run(path = ""): Promise<ImportedBackups> {
    return this.#import.run(path, signal);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#archives[Symbol.asyncDispose]();
    await rm(join(this.own, ".."), { recursive: true });
  }
}

function placesOf({ backups }: ImportedBackups): string[] {
  return backups.map(({ storagePath }) => storagePath);
}

describe("an import of backups", () => {
  it("takes what is there, says what cannot be taken and why, and goes on", async () => {
    await using bench = await Bench.open();
    await bench.put("good.collector", { metadata: { why: "test" } });
    await bench.put("deep/er/any-name");
    const whole = await readFile(join(bench.own, "good.collector"));
    const write = (name: string, bytes: Uint8Array | string) =>
      writeFile(join(bench.own, name), bytes);
    await write("cut.collector", whole.subarray(0, whole.length - 10));
    await write("longer.collector", Buffer.concat([whole, Buffer.from("more")]));
    const flipped = Buffer.from(whole);
    flipped[40] = (flipped[40] ?? 0) ^ 1;
    await write("flipped.collector", flipped);
    await write("text.collector", "not an archive");
    await write("empty.collector", "");
    await write("notes.txt", "passed over");
    await write(".new-unfinished", whole);
    await write("encrypted.collector", "age-encryption.org/v1\n-> X25519 abc\n--- def\n");
    await mkdir(join(bench.own, "folder.collector"));
    await symlink("/etc/passwd", join(bench.own, "link.collector"));
    await symlink(bench.other, join(bench.own, "link"));
    execFileSync("mkfifo", [join(bench.own, "pipe.collector")]);
    await bench.put("a name\u0007.collector");
    const answer = await bench.run();
    assert.deepEqual(placesOf(answer), ["deep/er/any-name", "good.collector"]);
    const [, good] = answer.backups;
    assert.deepEqual(good?.metadata, { why: "test" });
    assert.deepEqual(
      answer.refused.map(({ path, reason }) => `${path}: ${reason.slice(0, 50)}`),
      [
        "a name\ufffd.collector: its name or a folder's is none for a backup; renam",
        "cut.collector: this archive is not valid: it does not end as one:",
        "empty.collector: is empty",
        "encrypted.collector: the archive is damaged: it ends after its age head",
        "flipped.collector: the archive is damaged: its header does not match ",
        "link.collector: is a link",
        "longer.collector: this archive is not valid: it does not end as one:",
        "pipe.collector: is no file",
        "text.collector: does not start as an archive",
      ],
    );
    assert.deepEqual(placesOf(await bench.run()), []);
  });

  it("refuses manifests that no server writes", async () => {
    await using bench = await Bench.open();
    const id = randomUUIDv7();
    const base = { backupId: id, incarnation: "i1", revision: 5n };
    const named = (namespace: string, name: string): Manifest => ({
      collection: { namespace, name },
    });
    const crafted: Readonly<Record<string, Manifest>> = {
      "no-id": { backupId: "" },
      "path-as-id": { backupId: "../../etc/passwd" },
      "old-id": { backupId: "d9428888-122b-4222-b85c-61cd3cbb3210" },
      "set-id": { setId: "../set" },
      policy: { policy: "a\nb" },
      incarnation: { incarnation: "\u001b[2J" },
      "no-moment": { moment: { seconds: -1n } },
      "late-moment": { moment: { seconds: 1n << 60n } },
      "broken-moment": { moment: { seconds: 1n, nanos: -1 } },
      records: { recordCount: -1n },
      files: { fileBytes: -(1n << 60n) },
      notes: { metadata: { long: "x".repeat(100_000) } },
      system: named("system", "backups"),
      namespace: named("../x", "prices"),
      name: named("shop", "a/b"),
      "of-nothing": { content: BackupMetadata_Content.REGISTRY, base },
      "base-elsewhere": { base: { ...base, backupId: "" } },
      "no-base": { base: { ...base, backupId: randomUUIDv7() } },
      "base-is-itself": { backupId: id, base },
    };
    for (const [name, manifest] of Object.entries(crafted)) await bench.put(name, manifest);
    const { backups, refused } = await bench.run();
    assert.deepEqual(backups, []);
    assert.deepEqual(refused.map(({ path }) => path).sort(), Object.keys(crafted).sort());
  });

  it("follows chains whatever the order of the files, and leaves circles alone", async () => {
    await using bench = await Bench.open();
    const [first, second, third, one, two] = Array.from({ length: 5 }, () => randomUUIDv7());
    assert.ok(first && second && third && one && two);
    const on = (backupId: string, revision = 5n) => ({
      base: { backupId, incarnation: "i1", revision },
    });
    await bench.put("a", { backupId: third, revision: 9n, ...on(second, 7n) });
    await bench.put("b", { backupId: second, revision: 7n, ...on(first) });
    await bench.put("c", { backupId: first });
    await bench.put("d", { backupId: one, ...on(two) });
    await bench.put("e", { backupId: two, ...on(one) });
    await bench.put("f", { ...on(first, 4n) });
    await bench.put("g", {
      ...on(first),
      collection: { namespace: "shop", name: "prices", collectionId: "another" },
    });
    const answer = await bench.run();
    assert.deepEqual(placesOf(answer), ["c", "b", "a"]);
    assert.deepEqual(answer.refused.map(({ path }) => path).sort(), ["d", "e", "f", "g"]);
  });

  it("knows an archive again, and refuses another one of its id", async () => {
    await using bench = await Bench.open();
    const backupId = await bench.put("one.collector");
    await copyFile(join(bench.own, "one.collector"), join(bench.own, "two.collector"));
    assert.deepEqual(placesOf(await bench.run()), ["one.collector"]);
    await bench.put("three.collector", { backupId, revision: 6n });
    const again = await bench.run();
    assert.deepEqual(placesOf(again), []);
    assert.deepEqual(
      again.refused.map(({ path }) => path),
      ["three.collector"],
    );
    assert.match(again.refused[0]?.reason ?? "", /which is known, and is another archive/);
    await rm(join(bench.own, "one.collector"));
    const moved = await bench.run("two.collector");
    assert.match(moved.refused[0]?.reason ?? "", /cannot be read at one.collector/);
    bench.known.splice(0);
    const twins = await bench.run();
    assert.deepEqual(placesOf(twins), ["three.collector"]);
    assert.match(twins.refused[0]?.reason ?? "", /has the id of three.collector/);
  });

  it("looks at a file, a folder or another backup folder if it is told to", async () => {
    await using bench = await Bench.open();
    await bench.put("in/one");
    await bench.put("in/two");
    await bench.put("three");
    await bench.put("../other/four");
    assert.deepEqual(placesOf(await bench.run("in/two")), ["in/two"]);
    assert.deepEqual(placesOf(await bench.run("in/")), ["in/one"]);
    assert.deepEqual(placesOf(await bench.run(bench.other)), [join(bench.other, "four")]);
    await symlink(bench.own, join(bench.own, "self"));
    for (const path of ["missing", "..", "self/three", "/etc", "in/../three", "a\0"]) {
      await assert.rejects(bench.run(path), { reason: "ARGUMENT_INVALID" }, path);
    }
    const { refused } = await bench.run("self");
    assert.equal(refused[0]?.reason, "is a link");
  });

  it("does not go deeper than it says, and says so", async () => {
    await using bench = await Bench.open();
    const deep = Array.from({ length: 9 }, () => "d").join("/");
    await bench.put(`${deep}/one`);
    const { backups, refused } = await bench.run();
    assert.deepEqual(backups, []);
    assert.match(refused[0]?.reason ?? "", /9 folders deep, the limit is 8/);
    assert.equal((await bench.run(deep)).backups.length, 1);
  });

  it("says which folder it may not read, and takes the others", async () => {
    await using bench = await Bench.open();
    await bench.put("one");
    await mkdir(join(bench.own, "lost+found"));
    // Root's, or else nobody's to read.
    const mode = process.geteuid?.() === 0 ? 0o700 : 0;
    await chmod(join(bench.own, "lost+found"), mode);
    for (const path of [join(bench.own, ".."), bench.own]) await chmod(path, 0o755);
    await chmod(join(bench.own, "one"), 0o644);
    using _user = asOrdinaryUser();
    const found = await bench.run();
    assert.deepEqual(placesOf(found), ["one"]);
    assert.deepEqual(found.refused, [{ path: "lost+found", reason: "cannot be read: EACCES" }]);
  });

  it("stops when nobody waits any more", async () => {
    await using bench = await Bench.open();
    await bench.put("one");
    const gone = AbortSignal.abort(new Error("gone"));
    const { own } = bench;
    const folders = await BackupFolders.open(own, []);
    const archives = { manifest: () => assert.fail("nothing is read") };
    const backups = { all: () => [], adopt: () => assert.fail("nothing is taken") };
    const imports = new BackupImport({ backups, folders, archives, keys: { identities: [] } });
    await assert.rejects(imports.run("", gone), /gone/);
  });
});
