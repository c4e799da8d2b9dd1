import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, connect } from "../src/client/client.ts";
import { noteItem } from "../test/support/notes.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { memoryOf } from "./cpu.ts";
import { type Benchmark, main, type Report } from "./harness.ts";

const mib = 1024 * 1024;
const attachedAtOnce = 64;
/** Between two writes, so that most of the server's time is left to copies. */
const pauseMs = 5;
const aloneMs = 5000;

export const manyFilesBenchmark: Benchmark = {
  name: "many-files",
  about:
    "A collection with 160,000 small attached files is backed up, verified, restored and cloned while it is written to, beside cp and sync of its files.",
  async run(report, isQuick) {
    const files = isQuick ? 1100 : 160_000;
    await using server = await benchServer();
    await using client = await connect({ url: server.url, timeoutMs: 120_000 });
    await server.fill("notes", 100);
    await attach(client, files);
    const step = new Steps(report, server);
    await step.measure("nobody copies", () => sleep(isQuick ? 50 : aloneMs));
    const full = await step.measure("backup", () => client.backups.create("notes"));
    if (full.fileCount !== BigInt(files)) throw new Error("the backup lacks files");
    report.add("backup: size", Number(full.sizeBytes) / files, "bytes a file");
    const { backupId } = full;
    await step.measure("incremental backup", () =>
      client.backups.create("notes", { baseBackupId: backupId }),
    );
    const { isValid } = await step.measure("verify", () => client.backups.verify(backupId));
    if (!isValid) throw new Error("the backup is not valid");
    await step.measure("restore", () => client.backups.restore(backupId, { as: "restored" }));
    await step.measure("clone", () => client.clone("notes", "cloned"));
    step.compare("backup", copyByHand(server));
  },
};

class Steps {
  readonly #report: Report;
  readonly #server: BenchServer;
  readonly #lasted = new Map<string, number>();

  constructor(report: Report, server: BenchServer) {
    this.#report = report;
    this.#server = server;
  }

  /** Does work, while a record is written again and again. */
  async measure<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { records } = this.#server.client;
    const memoryBefore = await memoryOf(this.#server.pid);
    let [worstMs, worstMemory] = [0, memoryBefore];
    const done = new AbortController();
    const writing = async (): Promise<void> => {
      for (let writes = 0; !done.signal.aborted; writes += 1) {
        const begin = performance.now();
        const item = noteItem(writes);
        await records.update({ collectionName: "notes", id: "written", item, allowMissing: true });
        worstMs = Math.max(worstMs, performance.now() - begin);
        if (writes % 10 === 0)
          worstMemory = Math.max(worstMemory, await memoryOf(this.#server.pid));
        await sleep(pauseMs);
      }
    };
    const begin = performance.now();
    const load = writing();
    const result = await work();
    const lastedMs = performance.now() - begin;
    done.abort();
    await load;
    this.#lasted.set(name, lastedMs);
    this.#report.add(`${name}: time`, lastedMs, "ms");
    this.#report.add(`${name}: worst write`, worstMs, "ms");
    this.#report.add(`${name}: memory, more by`, (worstMemory - memoryBefore) / mib, "MiB");
    return result;
  }

  compare(name: string, byHandMs: number): void {
    this.#report.add("cp and sync of the store", byHandMs, "ms");
    const ratio = (this.#lasted.get(name) ?? Number.NaN) / byHandMs;
    this.#report.add(`${name} / cp and sync`, ratio, "×");
  }
}

async function attach(client: Client, count: number): Promise<void> {
  const files = client.files("notes");
  let next = 0;
  const put = async (): Promise<void> => {
    while (next < count) {
      const number = next;
      next += 1;
      await files.put(`many/${number}`, Buffer.from(`content of file ${number}`));
    }
  };
  await Promise.all(Array.from({ length: attachedAtOnce }, put));
}

const script = 'cp -r --reflink=never "$0" "$1" && sync -f "$1"';

function copyByHand({ dataFolder }: BenchServer): number {
  const begin = performance.now();
  const copy = join(dataFolder, "copy-to-compare");
  const stores = execFileSync("sh", [
    "-c",
    'du -s "$0"/*/* | sort -n | tail -1 | cut -f2',
    join(dataFolder, "stores"),
  ]);
  execFileSync("sh", ["-c", script, stores.toString().trim(), copy]);
  return performance.now() - begin;
}

if (import.meta.main) await main(manyFilesBenchmark);
