import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative, sep } from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { CollectorError } from "../errors.ts";
import {
  BackupFolders,
  inFolder,
  makeFolderOf,
  putInPlace,
  unfinishedName,
} from "./backup-folders.ts";
import { asOrdinaryUser } from "./testing/ordinary-user.ts";

/** Two backup folders, with links planted in them that lead out, and what must never change beside them. */
class Bench implements AsyncDisposable {
  readonly base: string;
  readonly folders: BackupFolders;

  private constructor(base: string, folders: BackupFolders) {
    this.base = base;
    this.folders = folders;
  }

  static async open(): Promise<Bench> {
    const base = await realpath(await mkdtemp(join(tmpdir(), "collector-folders-")));
    for (const name of ["own/kept/deep", "root/kept", "outside/kept", "own-not"]) {
      await mkdir(join(base, name), { recursive: true });
    }
    await writeFile(join(base, "own/file"), "a file");
    await writeFile(join(base, "outside/secret"), "a secret");
    await symlink(join(base, "outside"), join(base, "own/link"));
    await symlink(join(base, "outside"), join(base, "own/kept/link"));
    await symlink("../outside", join(base, "root/link"));
    await symlink(join(base, "outside/secret"), join(base, "own/secret"));
    await symlink(join(base, "outside/new"), join(base, "own/dangling"));
    await symlink(".", join(base, "own/self"));
    const folders = await BackupFolders.open(join(base, "own"), [join(base, "root")]);
    return new Bench(base, folders);
  }

  get roots(): readonly string[] {
    return ["own", "root"].map((name) => join(this.base, name));
  }

  /** Everything beside the backup folders. */
  async outside(): Promise<readonly string[]> {
    const beside = await readdir(this.base);
    const folders = ["outside", "own-not"].map((name) =>
      readdir(join(this.base, name), { recursive: true }),
    );
    return [beside, ...(await Promise.all(folders))].flat().sort();
  }

  /** Writes as a backup does. @returns where it is, or undefined if the path was refused */
  async write(given: string, id: string): Promise<string | undefined> {
    try {
      const place = await this.folders.locate(given, "dest_path");
      await makeFolderOf(place);
      const unfinished = unfinishedName(place.path, id);
      await writeFile(unfinished, "an archive", { flag: "wx" });
      try {
        await putInPlace(unfinished, place.path);
      } finally {
        await rm(unfinished, { force: true });
      }
      return place.path;
    } catch (error) {
      if (!(error instanceof CollectorError)) throw error;
      assert.ok(["ARGUMENT_INVALID", "BACKUP_EXISTS"].includes(error.reason), error.reason);
      assert.match(error.message, /^dest_path: /);
      return undefined;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.base, { recursive: true, force: true });
  }
}

const segment = fc.oneof(
  fc.constantFrom("..", ".", "", "kept", "deep", "link", "self", "file", "secret", "dangling"),
  fc.constantFrom(
    "a",
    "B",
    "0-9._",
    ".hidden",
    "...",
    "a..b",
    "-x",
    "~",
    "a\0b",
    "a\\b",
    "C:",
    "a b",
  ),
  fc.constantFrom(
    "%2e%2e",
    "..%2f",
    "\u202e",
    "e\u0301",
    "\ud800",
    "own",
    "x".repeat(255),
    "x".repeat(256),
  ),
  fc.string({ unit: "binary", maxLength: 8 }),
  fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,12}$/),
);

/** Texts that a caller may send, made of what might lead out. */
function paths(base: string): fc.Arbitrary<string> {
  const joined = fc
    .tuple(fc.array(segment, { minLength: 1, maxLength: 6 }), fc.constantFrom("/", "//", "\\"))
    .map(([segments, separator]) => segments.join(separator));
  const prefix = fc.constantFrom(
    "",
    "",
    "/",
    `${base}/own/`,
    `${base}/root/`,
    `${base}/own`,
    `${base}/own-not/`,
    `${base}/outside/`,
    `${base}/own/../outside/`,
    "file:///",
    "../outside/",
  );
  return fc.oneof(
    fc.tuple(prefix, joined).map(([before, path]) => before + path),
    fc.string({ unit: "binary", maxLength: 2000 }),
    fc.constantFrom("../../etc/x", "/etc/x", "x".repeat(5000), "a/".repeat(600), "\0"),
  );
}

describe("a path of a caller", () => {
  it("never makes anything outside of the backup folders, whatever it is", async () => {
    await using bench = await Bench.open();
    const before = await bench.outside();
    let count = 0;
    let written = 0;
    await fc.assert(
      fc.asyncProperty(paths(bench.base), fc.boolean(), async (text, isFolder) => {
        count += 1;
        const given = isFolder ? inFolder(text, "archive.collector") : text;
        const path = await bench.write(given, String(count));
        assert.deepEqual(await bench.outside(), before);
        if (path === undefined) return;
        written += 1;
        // Where it really is, through all links.
        const real = await realpath(path);
        assert.equal(real, path);
        assert.ok(bench.roots.some((root) => real.startsWith(root + sep)));
        await rm(path);
      }),
      { numRuns: 300 },
    );
    assert.ok(written > 0, "some paths are allowed");
  });

  it("finds nothing outside of them either", async () => {
    await using bench = await Bench.open();
    await fc.assert(
      fc.asyncProperty(paths(bench.base), async (given) => {
        try {
          const { root, path } = await bench.folders.locateExisting(given, "path");
          assert.ok(bench.roots.includes(root));
          assert.ok(!relative(root, path).startsWith(".."));
        } catch (error) {
          assert.ok(error instanceof CollectorError && error.reason === "ARGUMENT_INVALID");
        }
      }),
      { numRuns: 300 },
    );
  });
});

describe("backup folders", () => {
  it("are found by the name that the setting has for them, though that is a link", async () => {
    await using bench = await Bench.open();
    const { base } = bench;
    await symlink("root", join(base, "disk"));
    await symlink("own", join(base, "here"));
    const folders = await BackupFolders.open(join(base, "here"), [join(base, "disk/")]);
    const found = await folders.locate(join(base, "disk/kept/x"), "dest_path");
    const path = join(base, "root/kept/x");
    assert.deepEqual(found, { root: join(base, "root"), path, storagePath: path });
    assert.deepEqual(await folders.locate(path, "dest_path"), found);
    assert.equal((await folders.locate(join(base, "here/x"), "dest_path")).storagePath, "x");
    for (const name of ["disk", "disk/", "root"]) {
      const { root } = await folders.locateExisting(join(base, name), "path");
      assert.equal(root, join(base, "root"));
    }
    const leadsOut = folders.locate(join(base, "disk/link/x"), "dest_path");
    await assert.rejects(leadsOut, { reason: "ARGUMENT_INVALID" });
  });

  it("may have folders in them that nobody but root can read", async () => {
    await using bench = await Bench.open();
    await chmod(bench.base, 0o755);
    for (const root of bench.roots) await lock(join(root, "lost+found"));
    using _user = asOrdinaryUser();
    const [own = "", root = ""] = bench.roots;
    assert.equal((await BackupFolders.open(own, [root])).own, own);
  });

  it("are named with their setting if they cannot be used", async () => {
    await using bench = await Bench.open();
    const { base } = bench;
    await chmod(base, 0o755);
    await lock(join(base, "locked"));
    const [own = ""] = bench.roots;
    const at = (name: string): string => join(base, name);
    using _user = asOrdinaryUser();
    const cases: readonly (readonly [string, readonly string[], string])[] = [
      [at("locked/own"), [], `backupFolder: ${at("locked/own")} cannot be made: EACCES`],
      [at("own/file"), [], `backupFolder: ${at("own/file")} cannot be made: EEXIST`],
      [own, [at("locked")], `backupRoots: ${at("locked")} cannot be read: EACCES`],
      [own, [at("missing")], `backupRoots: ${at("missing")} cannot be found`],
      [own, [at("own/file")], `backupRoots: ${at("own/file")} is no folder`],
      [own, ["relative"], "backupRoots: relative is not absolute"],
    ];
    for (const [folder, roots, message] of cases) {
      const opened = BackupFolders.open(folder, roots);
      await assert.rejects(opened, { reason: "ARGUMENT_INVALID", message });
    }
  });

  it("are nowhere that the server keeps other things", async () => {
    await using bench = await Bench.open();
    const { base } = bench;
    const kept = [join(base, "own/kept")];
    await symlink(join(base, "own/kept"), join(base, "here"));
    for (const folder of [join(base, "own/kept"), join(base, "own/kept/new"), join(base, "here")]) {
      const message = `backupFolder: ${folder} is where the server keeps its data`;
      const refused = { reason: "ARGUMENT_INVALID", message };
      await assert.rejects(BackupFolders.open(folder, [], kept), refused);
    }
    assert.deepEqual((await readdir(join(base, "own/kept"))).sort(), ["deep", "link"]);
    const around = await BackupFolders.open(join(base, "own"), [base], kept);
    for (const path of ["kept", "kept/new", "kept/deep/new", join(base, "own/kept/new")]) {
      const message = "dest_path: is where the server keeps its data";
      await assert.rejects(around.locate(path, "dest_path"), { message });
    }
    assert.equal((await around.locate("kept-not", "dest_path")).storagePath, "kept-not");
  });

  it("keep no name for an archive that could not be put there", async () => {
    await using bench = await Bench.open();
    const { path } = await bench.folders.locate("new.collector", "dest_path");
    await assert.rejects(putInPlace(unfinishedName(path, "none"), path), { code: "ENOENT" });
    assert.ok(!(await readdir(bench.folders.own)).includes("new.collector"));
  });
});

/** Makes a folder that is not to be read. */
async function lock(path: string): Promise<void> {
  await mkdir(path);
  await chmod(path, process.geteuid?.() === 0 ? 0o700 : 0);
}
