import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Collector, createCollector } from "../../src/server.ts";
import { noteItem } from "./notes.ts";
import { type CliResult, runCli } from "./run-cli.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { TestClient } from "./test-client.ts";

/** A server with a collection `notes` of fifty records and a photo, another one, and commands run beside them. */
export class BackupFixture implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly server: Collector;
  /** An empty one. */
  readonly other: Collector;
  /** What `photo.jpg` holds, in the folder and at `notes`. */
  readonly photo: Buffer = randomBytes(6_000_000);

  private constructor(folder: TempFolder, server: Collector, other: Collector) {
    this.folder = folder;
    this.server = server;
    this.other = other;
  }

  static async open(name: string): Promise<BackupFixture> {
    const folder = await tempFolder(name);
    const start = (data: string): Promise<Collector> =>
      createCollector({ port: 0, logLevel: "silent", data: join(folder.path, data) });
    const fixture = new BackupFixture(folder, await start("data"), await start("other"));
    using client = new TestClient(fixture.server.url);
    await client.registerNotes();
    await client.createNotes("notes", { indexedFields: ["price_cents"] });
    for (let number = 0; number < 50; number += 1) {
      const item = noteItem(number);
      await client.records.create({ collectionName: "notes", id: `n${number}`, item });
    }
    await writeFile(join(folder.path, "photo.jpg"), fixture.photo);
    await fixture.done("file put notes photo.jpg");
    return fixture;
  }

  /** Runs a command in the folder. */
  run(args: string, url: string = this.server.url): Promise<CliResult> {
    return runCli(args.split(" "), { cwd: this.folder.path, env: { COLLECTOR_URL: url } });
  }

  /** Runs a command that has to succeed. @returns what it writes to stdout */
  async done(args: string, url: string = this.server.url): Promise<string> {
    const { exitCode, stdout, stderr } = await this.run(args, url);
    assert.equal(exitCode, 0, stderr);
    return stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
    await this.other[Symbol.asyncDispose]();
    await this.folder[Symbol.asyncDispose]();
  }
}
