import assert from "node:assert/strict";
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, it } from "node:test";
import { noteItem } from "../support/notes.ts";
import { runCli } from "../support/run-cli.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const main = join(import.meta.dirname, "../../src/cli/main.ts");

/** Larger than all that is buffered on its way. */
const fileBytes = 64 * 1024 * 1024;

interface Ended {
  readonly exitCode: number | null;
  readonly code: string;
  readonly message: string;
}

/** A command under way. Disposing it ends it. */
class Command implements Disposable {
  readonly child: ChildProcess;
  readonly #said: Promise<string>;

  constructor(args: string, { folder, url }: { folder: TempFolder; url: string }) {
    this.child = spawn(process.execPath, [main, ...args.split(" "), "-o", "json"], {
      cwd: folder.path,
      env: { ...process.env, COLLECTOR_URL: url, NO_COLOR: "1" },
      stdio: ["pipe", "ignore", "pipe"],
    });
    this.child.stdin?.on("error", () => undefined);
    this.#said = Array.fromAsync(this.child.stderr?.setEncoding("utf8") ?? []).then((texts) =>
      texts.join(""),
    );
  }

  [Symbol.dispose](): void {
    this.child.kill("SIGKILL");
  }

  async ended(): Promise<Ended> {
    const { child } = this;
    if (child.exitCode === null) await once(child, "exit", { signal: AbortSignal.timeout(60_000) });
    const said = await this.#said;
    const { code, message } = JSON.parse(said.slice(said.indexOf("{"))) as Ended;
    return { exitCode: child.exitCode, code, message };
  }
}

/** How many connections clients have to a port, accepted or not. */
async function connectionsTo(port: number): Promise<number> {
  const table = await readFile("/proc/net/tcp", "utf8");
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  const rows = table.split("\n").map((line) => line.trim().split(/\s+/));
  return rows.filter(([, address, , state]) => address?.endsWith(local) && state === "01").length;
}

describe("a server that dies while commands wait for it", () => {
  it("is unavailable, whatever they were doing", async () => {
    await using folder = await tempFolder("cli-lost-server");
    await using server = await ServerProcess.start({ dataFolder: join(folder.path, "data") });
    const { url } = server;
    using client = new TestClient(url);
    await client.registerNotes();
    await client.createNotes("notes");
    await client.records.create({ collectionName: "notes", id: "n1", item: noteItem(1) });
    await writeFile(join(folder.path, "large.bin"), randomBytes(fileBytes));
    const put = await runCli(["file", "put", "notes", "large.bin"], {
      cwd: folder.path,
      env: { COLLECTOR_URL: url },
    });
    assert.equal(put.exitCode, 0, put.stderr);

    const port = Number(new URL(url).port);
    const before = await connectionsTo(port);
    using running = new DisposableStack();
    const run = (args: string): Command => running.use(new Command(args, { folder, url }));
    // Readers that take a little, and the rest only after the server has gone.
    const pipe = (name: string): void => {
      execFileSync("mkfifo", [join(folder.path, name)]);
      const script = `exec < ${name}; head -c 1000 > ${name}.seen; while [ ! -e gone ]; do sleep 0.1; done; cat > ${name}.rest`;
      const reader = spawn("sh", ["-c", script], { cwd: folder.path, stdio: "ignore" });
      running.defer(() => void reader.kill());
    };
    ["file", "archive"].forEach(pipe);
    const got = run("file get notes large.bin file");
    const downloaded = run("backup create notes -f archive");
    // Writers that never come to their end.
    const uploaded = [
      run("file put notes - --name other.bin"),
      run("backup restore -f - --as other"),
    ];
    for (const { child } of uploaded) child.stdin?.write(Buffer.alloc(fileBytes));

    await waitUntil("all are under way", 30_000, async () => {
      const seen = ["file", "archive"].map(async (name) => {
        const { size } = await stat(join(folder.path, `${name}.seen`));
        return size > 0;
      });
      return (await Promise.all(seen)).every(Boolean);
    });
    server.signal("SIGSTOP");
    const asked = [
      "collection show notes",
      "record list notes",
      "record export notes -f notes.jsonl",
      "file get notes large.bin other.bin",
      "backup create notes",
      "call collector.CollectionService/Meta -d {}",
    ].map(run);
    const commands = [got, downloaded, ...uploaded, ...asked];
    await waitUntil("all have asked", 30_000, async () => {
      return (await connectionsTo(port)) === before + commands.length;
    });
    await server.kill();
    await writeFile(join(folder.path, "gone"), "");

    const message = `the connection to ${url} broke`;
    for (const command of [...asked, got, uploaded[0]]) {
      assert.deepEqual(await command?.ended(), { exitCode: 6, code: "CONNECTION_BROKEN", message });
    }
    // These look for the server for half a minute, to go on where they were.
    for (const command of [downloaded, uploaded[1]]) {
      const { exitCode, code } = (await command?.ended()) ?? {};
      assert.deepEqual([exitCode, code], [6, "CONNECTION_FAILED"]);
    }
  });
});
