import { cp } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import {
  AnySchema,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { connect } from "../../src/client/client.ts";
import type { Config } from "../../src/config.ts";
import type {
  BackupServerResponse,
  RestoreServerResponse_Restored,
} from "../../src/gen/collector/backups_pb.ts";
import type { Compression } from "../../src/gen/collector/collection_repo_pb.ts";
import { RequestOpSchema } from "../../src/gen/collector/collection_server_pb.ts";
import { CompatibilityMode } from "../../src/gen/collector/namespaces_pb.ts";
import { type Collector, createCollector } from "../../src/server.ts";
import { noteItem } from "./notes.ts";
import { type TempFolder, tempFolder } from "./temp-folder.ts";
import { TestClient } from "./test-client.ts";

/** A file in one of two versions that are no compatible ones. */
export function priceFile(version: 1 | 2): FileDescriptorProto {
  const [type, jsonName] =
    version === 1
      ? ([FieldDescriptorProto_Type.INT64, "cents"] as const)
      : ([FieldDescriptorProto_Type.STRING, "text"] as const);
  const field = { name: jsonName, jsonName, number: 1, type };
  return create(FileDescriptorProtoSchema, {
    name: "shop/price.proto",
    package: "shop.v1",
    syntax: "proto3",
    messageType: [
      {
        name: "Price",
        field: [{ ...field, label: FieldDescriptorProto_Label.OPTIONAL }],
      },
    ],
  });
}

const quotesFile = create(FileDescriptorProtoSchema, {
  name: "shop/quotes.proto",
  package: "shop.v1",
  syntax: "proto3",
  dependency: ["shop/price.proto"],
  service: [
    {
      name: "Quotes",
      method: [{ name: "Quote", inputType: ".shop.v1.Price", outputType: ".shop.v1.Price" }],
    },
  ],
});

export interface SetRequest {
  readonly destPath: string;
  readonly namespace: string;
  readonly excludeFiles: boolean;
  readonly incremental: boolean;
  readonly metadata: Record<string, string>;
  readonly compression: Compression;
}

export interface RestoreRequest {
  readonly overwrite?: boolean;
  readonly collection?: { readonly namespace: string; readonly name: string };
}

/** A server on a folder of its own, with namespaces and collections to back up. */
export class SetServer implements AsyncDisposable {
  readonly folder: TempFolder;
  readonly collector: Collector;
  readonly client: TestClient;

  private constructor(folder: TempFolder, collector: Collector) {
    this.folder = folder;
    this.collector = collector;
    this.client = new TestClient(collector.url, { timeoutMs: 60_000 });
  }

  static async open(config: Partial<Config> = {}): Promise<SetServer> {
    const folder = await tempFolder("backup-server");
    const options = { data: folder.path, port: 0, logLevel: "silent" as const, ...config };
    return new SetServer(folder, await createCollector(options));
  }

  get backupFolder(): string {
    return join(this.folder.path, "backups");
  }

  /** As {@link fillServer}. */
  async fill(): Promise<void> {
    await fillServer(this.client, this.collector.url, 20);
  }

  async put(number: number, collectionName = "notes"): Promise<void> {
    const item = noteItem(number);
    const id = `n${number}`;
    await this.client.records.update({ collectionName, id, item, allowMissing: true });
  }

  async backUp(request: Partial<SetRequest> = {}): Promise<BackupServerResponse> {
    return await this.client.backups.backupServer(request);
  }

  async restore(
    setId: string,
    more: RestoreRequest = {},
  ): Promise<readonly RestoreServerResponse_Restored[]> {
    return (await this.client.backups.restoreServer({ setId, ...more })).restored;
  }

  /** Takes the archives of another server, as if they had come on a disk. */
  async takeFolder(other: SetServer): Promise<void> {
    await cp(other.backupFolder, this.backupFolder, { recursive: true });
  }

  /** As {@link stateOf}. */
  state(): Promise<unknown> {
    return stateOf(this.client);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.client[Symbol.dispose]();
    await this.collector.close();
    await this.folder[Symbol.asyncDispose]();
  }
}

/** Two namespaces with three collections; one has a file that changed, and settings of its own. */
export async function fillServer(
  client: TestClient,
  url: string,
  recordsPerCollection: number,
): Promise<void> {
  const { registry, namespaces, repo } = client;
  await namespaces.createNamespace({
    namespace: {
      name: "shop",
      compatibilityMode: CompatibilityMode.NONE,
      disabledServices: ["collector.RecordStreams"],
      metadata: { labels: { team: "sales" } },
    },
  });
  for (const fileDescriptor of [priceFile(1), priceFile(2), quotesFile]) {
    await registry.registerProto({ namespace: "shop", fileDescriptor });
  }
  await registry.registerService({ namespace: "shop", serviceName: "shop.v1.Quotes" });
  await client.registerNotes();
  for (const name of ["notes", "drafts"]) {
    await client.createNotes(name, { indexedFields: ["price_cents"] });
    const operations = Array.from({ length: recordsPerCollection }, (_, number) => {
      const value = { id: `n${number}`, item: noteItem(number) };
      return create(RequestOpSchema, { operation: { case: "create", value } });
    });
    await client.records.batch({ collectionName: name, operations });
  }
  await repo.createCollection({
    collection: {
      namespace: "shop",
      name: "prices",
      messageType: { namespace: "shop", messageName: "shop.v1.Price" },
    },
  });
  await client.records.create({
    namespace: "shop",
    collectionName: "prices",
    id: "p1",
    item: create(AnySchema, { typeUrl: "x/shop.v1.Price", value: new Uint8Array([10, 1, 57]) }),
  });
  await using files = await connect({ url });
  await files.files("notes").put("photo.jpg", Buffer.from("a photo"));
}

/** What callers can see of everything that is not of `system`. */
export async function stateOf(client: TestClient): Promise<unknown> {
  const { namespaces, types, registry, repo, records } = client;
  const settings = (await namespaces.listNamespaces({})).namespaces
    .filter(({ name }) => name !== "system")
    .map(({ name, compatibilityMode, disabledServices, metadata }) => {
      const { createdAt, labels } = metadata ?? {};
      return { name, compatibilityMode, disabledServices, createdAt, labels };
    });
  const found: unknown[] = [settings];
  for (const { name: namespace } of settings) {
    for (const { fileDescriptor, version } of (await types.listFiles({ namespace })).files) {
      const name = fileDescriptor?.name ?? "";
      found.push((await types.listFileVersions({ namespace, name })).files);
      found.push((await types.getFile({ namespace, name, version })).file);
    }
    const { services } = await registry.listServices({ namespace });
    found.push(
      services
        .filter(({ builtIn }) => !builtIn)
        .map(({ serviceName, fileName, version, methodNames }) => {
          return { serviceName, fileName, version, methodNames };
        }),
    );
    const { collections } = await repo.discover({ namespace });
    for (const { name, indexedFields, messageType, typeVersion } of collections) {
      const page = await records.list({ namespace, collectionName: name, pageSize: 1000 });
      const { fileCount } = await records.describe({ namespace, collectionName: name });
      const { items, metas } = page;
      found.push({ name, indexedFields, messageType, typeVersion, items, metas, fileCount });
    }
  }
  return found;
}
