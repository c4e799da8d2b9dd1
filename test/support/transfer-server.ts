import { createHash, randomUUID } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { crc32 } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { connect } from "../../src/client/client.ts";
import type {
  PullCollectionChunk_Metadata,
  PullCollectionRequestSchema,
  PushCollectionRequest_MetadataSchema,
  PushCollectionRequestSchema,
  PushCollectionResponse,
} from "../../src/gen/collector/collection_repo_pb.ts";
import { type Collector, type CollectorOptions, createCollector } from "../../src/server.ts";
import { noteItem } from "./notes.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { TestClient } from "./test-client.ts";

export type PushMessage = MessageInitShape<typeof PushCollectionRequestSchema>;
export type PushMetadata = MessageInitShape<typeof PushCollectionRequest_MetadataSchema>;

export const chunkBytes: number = 1024 * 1024;

/** An archive as it came from a server. */
export interface Pulled {
  readonly metadata: PullCollectionChunk_Metadata;
  readonly bytes: Buffer;
  readonly chunkSizes: readonly number[];
}

/** A server on a folder of its own, whose archives travel. */
export class TransferServer implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly #options: CollectorOptions;
  #collector: Collector;
  #client: TestClient;

  private constructor(folder: TempFolder, collector: Collector, options: CollectorOptions) {
    this.folder = folder;
    this.#options = options;
    this.#collector = collector;
    this.#client = new TestClient(collector.url, { timeoutMs: 60_000 });
  }

  static async open(options: CollectorOptions = {}): Promise<TransferServer> {
    const folder = await tempFolder("transfers");
    const all = { ...options, data: folder.path, port: 0, logLevel: "silent" } as const;
    return new TransferServer(folder, await createCollector(all), all);
  }

  get client(): TestClient {
    return this.#client;
  }

  get url(): string {
    return this.#collector.url;
  }

  /** Stops the server and starts it again on the same folder. */
  async restart(): Promise<void> {
    this.#client[Symbol.dispose]();
    await this.#collector.close();
    this.#collector = await createCollector(this.#options);
    this.#client = new TestClient(this.#collector.url, { timeoutMs: 60_000 });
  }

  /** Makes collection `notes`, with one file. */
  async fill(count: number, file: Uint8Array = Buffer.from("a photo")): Promise<void> {
    await this.client.registerNotes();
    await this.client.createNotes("notes", { indexedFields: ["price_cents"] });
    for (let number = 0; number < count; number += 1) await this.put(number);
    await this.attach("photos/front.jpg", file);
  }

  async put(number: number, collectionName = "notes"): Promise<void> {
    const labels = { number: String(number) };
    const item = noteItem(number);
    const request = { collectionName, id: `n${number}`, item, labels, allowMissing: true };
    await this.client.records.update(request);
  }

  async attach(name: string, content: Uint8Array, collection = "notes"): Promise<void> {
    await using client = await connect({ url: this.url });
    await client.files(collection).put(name, content);
  }

  /** What callers can see of a collection. */
  async state(collectionName: string): Promise<unknown> {
    const { records, repo } = this.client;
    const { items, metas } = await records.list({ collectionName, pageSize: 1000 });
    const found = await records.search({ collectionName, fullText: "n1", orderBy: "price_cents" });
    const { collection } = await repo.route({ collection: { name: collectionName } });
    const { indexedFields, messageType } = collection ?? {};
    await using client = await connect({ url: this.url });
    const files: Record<string, string> = {};
    for await (const { name } of client.files(collectionName).list()) {
      const { content } = await client.files(collectionName).get(name);
      const hash = createHash("sha256");
      for await (const bytes of content) hash.update(bytes);
      files[name] = hash.digest("hex");
    }
    return { items, metas, found: found.results.length, indexedFields, messageType, files };
  }

  async names(): Promise<string[]> {
    const { collections } = await this.client.repo.discover({ namespace: "default" });
    return collections.map(({ name }) => name);
  }

  async pull(request: MessageInitShape<typeof PullCollectionRequestSchema>): Promise<Pulled> {
    let metadata: PullCollectionChunk_Metadata | undefined;
    const chunks: Uint8Array[] = [];
    for await (const { data, chunkCrc32 } of this.client.repo.pullCollection(request)) {
      if (data.case === "metadata") metadata = data.value;
      else if (data.case === "chunk") {
        if (chunkCrc32 !== crc32(data.value)) throw new Error("a chunk has another CRC-32");
        chunks.push(data.value);
      }
    }
    if (metadata === undefined) throw new Error("there were no metadata");
    const chunkSizes = chunks.map(({ length }) => length);
    return { metadata, bytes: Buffer.concat(chunks), chunkSizes };
  }

  /** Pulls all of `notes` of this moment. */
  async archive(): Promise<Buffer> {
    const request = { sourceCollection: { name: "notes" }, includeFiles: true };
    const { bytes, metadata } = await this.pull(request);
    await this.client.transfers.abandonTransfer({ transferId: metadata.transferId });
    return bytes;
  }

  push(metadata: PushMetadata, bytes: Uint8Array, from = 0): Promise<PushCollectionResponse> {
    const totalSize = metadata.totalSize ?? BigInt(bytes.length);
    return this.client.repo.pushCollection(
      messagesOf({ includeFiles: true, ...metadata, totalSize }, bytes, from),
    );
  }

  /** Pushes the first bytes of an archive, and hangs up once they have arrived. @returns the transfer's id */
  async pushPart(metadata: PushMetadata, bytes: Uint8Array, upTo: number): Promise<string> {
    const transferId = randomUUID();
    const all = { includeFiles: true, ...metadata, transferId, totalSize: BigInt(bytes.length) };
    await using part = this.beginPush(messagesOf(all, bytes.subarray(0, upTo), 0));
    await part.arrived(transferId, upTo);
    return transferId;
  }

  /** A push that sends these messages and does not end; disposing it hangs up. */
  beginPush(messages: AsyncIterable<PushMessage>): OpenPush {
    const hangUp = new AbortController();
    const client = new TestClient(this.url, { timeoutMs: 60_000 });
    const answer = client.repo.pushCollection(endless(messages, hangUp.signal), {
      signal: hangUp.signal,
    });
    answer.catch(() => undefined);
    return {
      answer,
      arrived: async (transferId, bytes) => {
        for (;;) {
          const known = await this.client.transfers
            .getTransfer({ transferId })
            .catch(() => undefined);
          if (known?.receivedBytes === BigInt(bytes)) return;
          await sleep(5);
        }
      },
      [Symbol.asyncDispose]: async () => {
        hangUp.abort();
        await answer.catch(() => undefined);
        client[Symbol.dispose]();
      },
    };
  }

  /** Files that transfers and other copies keep for a while. */
  async staged(): Promise<string[]> {
    const root = join(this.folder.path, "transfers");
    const entries = await readdir(root, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  }

  /** Stores of collections that callers have made, named in the catalog or not. */
  async stores(): Promise<string[]> {
    const names = await readdir(join(this.folder.path, "stores"));
    return names.filter((name) => !name.startsWith("system-"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#client[Symbol.dispose]();
    await this.#collector.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

export interface OpenPush extends AsyncDisposable {
  readonly answer: Promise<PushCollectionResponse>;
  /** Resolves when so many bytes of a transfer are there. */
  arrived(transferId: string, bytes: number): Promise<void>;
}

/** What a push sends. */
export async function* messagesOf(
  metadata: PushMetadata,
  bytes: Uint8Array,
  from: number,
): AsyncGenerator<PushMessage> {
  yield { data: { case: "metadata", value: { ...metadata, offset: BigInt(from) } } };
  for (let at = from; at < bytes.length; at += chunkBytes) {
    const chunk = bytes.subarray(at, at + chunkBytes);
    yield { data: { case: "chunk", value: chunk }, chunkCrc32: crc32(chunk) };
  }
}

async function* endless(
  messages: AsyncIterable<PushMessage>,
  signal: AbortSignal,
): AsyncGenerator<PushMessage> {
  yield* messages;
  // In short waits: who reads it may want to end it.
  while (!signal.aborted) await sleep(10);
}
