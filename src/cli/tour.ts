import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { JsonValue } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { type Client, connect } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import { type Collector, createCollector } from "../server.ts";
import { addSchema } from "./add-schema.ts";
import { type AirportDocument, readAirports } from "./airport-data.ts";
import { CliError } from "./failure.ts";
import { count, formatBytes, type Output } from "./output.ts";
import { findSchemaSources } from "./schema-sources.ts";

const collectionName = "airports";
const typeName = "examples.airports.v1.Airport";
const batchSize = 500;
const protoPath = fileURLToPath(new URL("../../examples/airports.proto", import.meta.url));

export interface TourOptions {
  readonly output: Output;
  /** Fires at Ctrl-C: the tour ends early and leaves nothing either. */
  readonly signal: AbortSignal;
}

/**
 * Starts a server on a temporary folder and a free port, and does with it what people do: registers a
 * type, creates a collection, loads, reads, updates, searches, lists and deletes records. Says what it
 * does and how long it took. The server is stopped and the folder removed, whatever happens.
 */
export async function runTour({ output, signal }: TourOptions): Promise<void> {
  const airports = await readAirports();
  const folder = await mkdtemp(join(tmpdir(), "collector-tour-"));
  await using cleanup = new AsyncDisposableStack();
  cleanup.defer(() => rm(folder, { recursive: true, force: true }));
  const steps = new Steps(output, signal);
  const collector = await steps.run("start a server in a temporary folder", async () => {
    const started = await createCollector({ port: 0, data: folder, logLevel: "warn" });
    cleanup.use(started);
    return { result: started, said: started.url };
  });
  const client = cleanup.use(await connect({ url: collector.url, namespace: "default", env: {} }));
  await new Tour(client, steps, signal).run(airports);
  await steps.run("stop the server and remove the folder", async () => {
    await closeAll(client, collector);
    await rm(folder, { recursive: true, force: true });
    return { result: undefined, said: "nothing is left behind" };
  });
  output.note("");
  output.note("Your own: collector start, then collector schema add FILE.proto");
}

async function closeAll(client: Client, collector: Collector): Promise<void> {
  client.close();
  await collector.close();
}

/** What a step hands on, and what it says about it. */
interface StepResult<T> {
  readonly result: T;
  readonly said: string;
}

/** Runs steps one after the other and prints each with its time. */
class Steps {
  readonly #output: Output;
  readonly #signal: AbortSignal;
  #number = 0;

  constructor(output: Output, signal: AbortSignal) {
    this.#output = output;
    this.#signal = signal;
  }

  async run<T>(title: string, step: () => Promise<StepResult<T>>): Promise<T> {
    this.#signal.throwIfAborted();
    this.#number += 1;
    const startMs = performance.now();
    const { result, said } = await step();
    const tookMs = performance.now() - startMs;
    if (this.#output.format === "table") {
      const number = String(this.#number).padStart(2);
      this.#output.line(`${number}. ${title.padEnd(52)} ${formatMs(tookMs).padStart(9)}`);
      this.#output.line(`    ${this.#output.style("dim", said)}`);
    } else {
      this.#output.json({ step: this.#number, title, tookMs, said });
    }
    return result;
  }
}

class Tour {
  readonly #client: Client;
  readonly #steps: Steps;
  readonly #signal: AbortSignal;

  constructor(client: Client, steps: Steps, signal: AbortSignal) {
    this.#client = client;
    this.#steps = steps;
    this.#signal = signal;
  }

  async run(airports: readonly AirportDocument[]): Promise<void> {
    await this.#registerType();
    await this.#createCollection();
    await this.#load(airports);
    await this.#read();
    await this.#update();
    await this.#search();
    await this.#list(airports.length);
    await this.#batch();
    await this.#refuse();
    await this.#delete();
    await this.#describe(airports.length);
  }

  get #target(): { collectionName: string } {
    return { collectionName };
  }

  get #limits(): { signal: AbortSignal } {
    return { signal: this.#signal };
  }

  async #registerType(): Promise<void> {
    await this.#steps.run("register examples/airports.proto", async () => {
      const sources = await findSchemaSources([protoPath], []);
      const client = this.#client;
      const { messages, files } = await addSchema({
        client,
        sources,
        namespace: "",
        dryRun: false,
        signal: this.#signal,
      });
      const version = files[0]?.version ?? 0n;
      return { result: undefined, said: `+${count(messages, "message")}, version ${version}` };
    });
  }

  async #createCollection(): Promise<void> {
    await this.#steps.run("create a collection with two indexed fields", async () => {
      const { collection } = await this.#client.services.repo.createCollection(
        {
          collection: {
            name: collectionName,
            messageType: { messageName: typeName },
            indexedFields: ["country", "position.altitude_feet"],
          },
        },
        this.#limits,
      );
      return {
        result: undefined,
        said: `${collection?.namespace}/${collection?.name} of ${typeName}`,
      };
    });
  }

  async #load(airports: readonly AirportDocument[]): Promise<void> {
    await this.#steps.run(`load ${count(airports.length, "airport")}, durably`, async () => {
      const startMs = performance.now();
      for (let start = 0; start < airports.length; start += batchSize) {
        const operations = await Promise.all(
          airports.slice(start, start + batchSize).map(async ({ id, json }) => ({
            operation: {
              case: "create" as const,
              value: { ...this.#target, id, item: await this.#pack(json) },
            },
          })),
        );
        await this.#client.services.records.batch({ ...this.#target, operations }, this.#limits);
      }
      const perSecond = Math.round((airports.length * 1000) / (performance.now() - startMs));
      return {
        result: undefined,
        said: `${perSecond.toLocaleString("en")} records a second, in batches of ${batchSize}`,
      };
    });
  }

  async #read(): Promise<void> {
    await this.#steps.run("read one by its id", async () => {
      const { item, meta } = await this.#client.services.records.get(
        { ...this.#target, id: "BIKF" },
        this.#limits,
      );
      return {
        result: undefined,
        said: `BIKF: ${await this.#nameOf(item)}, version ${meta?.version}`,
      };
    });
  }

  async #update(): Promise<void> {
    await this.#steps.run("tag it, and touch nothing else of it", async () => {
      await this.#client.services.records.update(
        {
          ...this.#target,
          id: "BIKF",
          item: await this.#pack({ tags: ["favourite"] }),
          updateMask: ["tags"],
        },
        this.#limits,
      );
      const { item } = await this.#client.services.records.get(
        { ...this.#target, id: "BIKF" },
        this.#limits,
      );
      const json = await this.#json(item);
      return {
        result: undefined,
        said: `tags ${JSON.stringify(json["tags"])}, still ${textOf(json["name"])}`,
      };
    });
  }

  async #search(): Promise<void> {
    await this.#steps.run('search for "international iceland"', async () => {
      const { results } = await this.#client.services.records.search(
        { ...this.#target, fullText: "international iceland", limit: 3 },
        this.#limits,
      );
      const names = await Promise.all(results.map(({ item }) => this.#nameOf(item)));
      if (names.length === 0) throw new CliError("TOUR_FAILED", "the search found nothing");
      return { result: undefined, said: names.join("; ") };
    });
  }

  async #list(expected: number): Promise<void> {
    await this.#steps.run("list them all, page by page", async () => {
      let listed = 0;
      let pages = 0;
      let pageToken = "";
      do {
        const page = await this.#client.services.records.list(
          { ...this.#target, pageSize: 1000, pageToken },
          this.#limits,
        );
        listed += page.items.length;
        pages += 1;
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
      if (listed !== expected) {
        throw new CliError("TOUR_FAILED", `listed ${listed} of ${expected} records`);
      }
      return { result: undefined, said: `${count(listed, "record")} in ${count(pages, "page")}` };
    });
  }

  async #batch(): Promise<void> {
    await this.#steps.run("create, change and delete in one batch", async () => {
      const item = await this.#pack({ name: "Moon Base One", country: "Moon" });
      const renamed = await this.#pack({ name: "Moon Base Two" });
      const { responses } = await this.#client.services.records.batch(
        {
          ...this.#target,
          operations: [
            { operation: { case: "create", value: { ...this.#target, id: "moon-1", item } } },
            {
              operation: {
                case: "update",
                value: { ...this.#target, id: "moon-1", item: renamed, updateMask: ["name"] },
              },
            },
            { operation: { case: "delete", value: { ...this.#target, id: "moon-1" } } },
          ],
        },
        this.#limits,
      );
      return { result: undefined, said: `${count(responses.length, "operation")}, all or nothing` };
    });
  }

  async #refuse(): Promise<void> {
    await this.#steps.run("write a record of another type, which is refused", async () => {
      try {
        await this.#client.services.records.create(
          { ...this.#target, item: { typeUrl: "type.googleapis.com/google.protobuf.Duration" } },
          this.#limits,
        );
      } catch (error) {
        if (!(error instanceof ClientError) || error.status !== "InvalidArgument") throw error;
        return { result: undefined, said: error.message };
      }
      throw new CliError("TOUR_FAILED", "a record of another type was taken");
    });
  }

  async #delete(): Promise<void> {
    await this.#steps.run("delete one", async () => {
      const request = { ...this.#target, id: "BIKF" };
      await this.#client.services.records.delete(request, this.#limits);
      const { records } = await this.#client.services.records.get(
        { ...this.#target, ids: ["BIKF"] },
        this.#limits,
      );
      if (records[0]?.found !== false)
        throw new CliError("TOUR_FAILED", "the record is still there");
      return { result: undefined, said: "BIKF is gone" };
    });
  }

  async #describe(loaded: number): Promise<void> {
    await this.#steps.run("ask what the collection holds", async () => {
      const { recordCount, storageSizeBytes, revision, indexes } =
        await this.#client.services.records.describe(this.#target, this.#limits);
      if (recordCount !== BigInt(loaded - 1)) {
        throw new CliError("TOUR_FAILED", `counted ${recordCount} of ${loaded - 1} records`);
      }
      const parts = [
        count(recordCount, "record"),
        formatBytes(storageSizeBytes),
        count(indexes.length, "index", "indexes"),
        `revision ${revision}`,
      ];
      return { result: undefined, said: parts.join(", ") };
    });
  }

  async #pack(json: JsonValue): Promise<Any> {
    const type = await this.#client.messageType(typeName);
    return anyPack(type, await this.#client.fromJson(type, json));
  }

  async #json(item: Any | undefined): Promise<{ readonly [key: string]: JsonValue }> {
    const json = item === undefined ? {} : await this.#client.toJson(item);
    return typeof json === "object" && json !== null && !Array.isArray(json) ? json : {};
  }

  async #nameOf(item: Any | undefined): Promise<string> {
    const { name, city } = await this.#json(item);
    return `${textOf(name)} (${textOf(city)})`;
  }
}

function formatMs(ms: number): string {
  if (ms >= 1000) return `${(ms / 1000).toFixed(2)} s`;
  return ms >= 10 ? `${Math.round(ms)} ms` : `${ms.toFixed(1)} ms`;
}

function textOf(json: JsonValue | undefined): string {
  return typeof json === "string" ? json : JSON.stringify(json);
}
