import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { type RequestOp, RequestOpSchema } from "../src/gen/collector/collection_server_pb.ts";
import { noteItem } from "../test/support/notes.ts";
import { ServerProcess, type ServerProcessOptions } from "../test/support/server-process.ts";
import { type TempFolder, tempFolder } from "../test/support/temp-folder.ts";
import { type CollectionOptions, TestClient } from "../test/support/test-client.ts";
import { cpuOf } from "./cpu.ts";
import { recordId } from "./load/sources.ts";

/** Records written by one call while a collection is filled, and such calls at a time. */
const fillBatch = 500;
const fillInFlight = 8;

/** A server is quiet that uses less than this part of a core for so many looks, in ms, on end. */
const quietShare = 0.05;
const quietLookMs = 500;
const quietLooks = 4;

/** As `npm start` has it: fewer collections of short-lived garbage. */
const startArgs = ["--max-semi-space-size=8"];

/** A server on a folder of its own, and a client to prepare what is measured. */
export class BenchServer implements AsyncDisposable {
  readonly client: TestClient;
  readonly #process: ServerProcess;
  readonly #folder: TempFolder;

  constructor(process: ServerProcess, folder: TempFolder) {
    this.#process = process;
    this.#folder = folder;
    this.client = new TestClient(process.url, { timeoutMs: 120_000 });
  }

  get url(): string {
    return this.#process.url;
  }

  get pid(): number {
    return this.#process.pid;
  }

  get dataFolder(): string {
    return this.#folder.path;
  }

  /** Creates a collection with so many notes; {@link recordId} names them, from 0. */
  async fill(name: string, records: number, options: CollectionOptions = {}): Promise<void> {
    await this.client.createNotes(name, { indexedFields: ["price_cents"], ...options });
    let next = 0;
    const fill = async () => {
      while (next < records) {
        const first = next;
        next += fillBatch;
        const count = Math.min(fillBatch, records - first);
        const operations = Array.from({ length: count }, (_, index) => creation(first + index));
        await this.client.records.batch({ collectionName: name, operations });
      }
    };
    await Promise.all(Array.from({ length: fillInFlight }, fill));
  }

  /** Waits until the server has put in order by itself what a fill has left, as its text index. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < quietLooks; ) {
      const beforeUs = await cpuOf(this.pid);
      await sleep(quietLookMs);
      const usedUs = (await cpuOf(this.pid)) - beforeUs;
      quiet = usedUs < quietShare * quietLookMs * 1000 ? quiet + 1 : 0;
    }
  }

  /** Ends the server as a caller's SIGTERM would; the data stays until this goes out of scope. */
  async stop(): Promise<void> {
    this.client[Symbol.dispose]();
    const exit = await this.#process.stop();
    if (exit.code !== 0) throw new Error(`the server ended with ${exit.code ?? exit.signal}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.#process[Symbol.asyncDispose]();
    await this.#folder[Symbol.asyncDispose]();
  }
}

/** Starts a server on an empty folder, with the type of the notes registered. */
export async function benchServer(
  options: Omit<ServerProcessOptions, "dataFolder"> = {},
): Promise<BenchServer> {
  const folder = await tempFolder("bench");
  const nodeArgs = [...startArgs, ...(options.nodeArgs ?? [])];
  const server = await ServerProcess.start({ ...options, nodeArgs, dataFolder: folder.path });
  const bench = new BenchServer(server, folder);
  await bench.client.registerNotes();
  return bench;
}

function creation(number: number): RequestOp {
  const value = { id: recordId(number), item: noteItem(number) };
  return create(RequestOpSchema, { operation: { case: "create", value } });
}
