import { type Client, createClient, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { Backups, Transfers } from "../../src/gen/collector/backups_pb.ts";
import { CollectionAdmin } from "../../src/gen/collector/collection_admin_pb.ts";
import { type Collection, Durability } from "../../src/gen/collector/collection_pb.ts";
import { CollectionRepo } from "../../src/gen/collector/collection_repo_pb.ts";
import { CollectionService } from "../../src/gen/collector/collection_server_pb.ts";
import { CollectiveDispatcher } from "../../src/gen/collector/dispatcher_pb.ts";
import { Mesh } from "../../src/gen/collector/mesh_pb.ts";
import { Namespaces } from "../../src/gen/collector/namespaces_pb.ts";
import { Operations } from "../../src/gen/collector/operations_pb.ts";
import { CollectorRegistry } from "../../src/gen/collector/registry_pb.ts";
import { TypeRegistry } from "../../src/gen/collector/type_registry_pb.ts";
import { noteFile, noteTypeName } from "./notes.ts";

export interface CollectionOptions {
  readonly indexedFields?: readonly string[];
  readonly durability?: Durability;
}

/** One gRPC connection with a typed client for each service. */
export class TestClient implements Disposable {
  readonly transport: Transport;
  readonly records: Client<typeof CollectionService>;
  readonly repo: Client<typeof CollectionRepo>;
  readonly admin: Client<typeof CollectionAdmin>;
  readonly registry: Client<typeof CollectorRegistry>;
  readonly types: Client<typeof TypeRegistry>;
  readonly namespaces: Client<typeof Namespaces>;
  readonly operations: Client<typeof Operations>;
  readonly backups: Client<typeof Backups>;
  readonly transfers: Client<typeof Transfers>;
  readonly dispatcher: Client<typeof CollectiveDispatcher>;
  readonly mesh: Client<typeof Mesh>;
  readonly #session: Http2SessionManager;

  constructor(url: string, options: { readonly timeoutMs?: number } = {}) {
    this.#session = new Http2SessionManager(url);
    this.transport = createGrpcTransport({
      baseUrl: url,
      sessionManager: this.#session,
      defaultTimeoutMs: options.timeoutMs ?? 60_000,
    });
    this.records = createClient(CollectionService, this.transport);
    this.repo = createClient(CollectionRepo, this.transport);
    this.admin = createClient(CollectionAdmin, this.transport);
    this.registry = createClient(CollectorRegistry, this.transport);
    this.types = createClient(TypeRegistry, this.transport);
    this.namespaces = createClient(Namespaces, this.transport);
    this.operations = createClient(Operations, this.transport);
    this.backups = createClient(Backups, this.transport);
    this.transfers = createClient(Transfers, this.transport);
    this.dispatcher = createClient(CollectiveDispatcher, this.transport);
    this.mesh = createClient(Mesh, this.transport);
  }

  /** Registers the type of the notes; a second time changes nothing. */
  async registerNotes(namespace = ""): Promise<void> {
    await this.registry.registerProto({ namespace, fileDescriptor: noteFile });
  }

  /** Creates a collection of notes. */
  async createNotes(name: string, options: CollectionOptions = {}): Promise<Collection> {
    const response = await this.repo.createCollection({
      collection: {
        name,
        messageType: { messageName: noteTypeName },
        indexedFields: [...(options.indexedFields ?? [])],
        durability: options.durability ?? Durability.UNSPECIFIED,
      },
    });
    if (response.collection === undefined)
      throw new Error("CreateCollection answers no collection");
    return response.collection;
  }

  [Symbol.dispose](): void {
    this.#session.abort();
  }
}
