import {
  type DescEnum,
  type DescMessage,
  type DescMethod,
  type DescMethodStreaming,
  type DescMethodUnary,
  type DescService,
  type JsonValue,
  type Message,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import {
  Code,
  createClient,
  type Client as ServiceClient,
  type Transport,
} from "@connectrpc/connect";
import type { CloneResponse, FetchResponse } from "../gen/collector/collection_repo_pb.ts";
import { attachService } from "./attach.ts";
import { Backups } from "./backups.ts";
import { ClientError } from "./client-error.ts";
import {
  type CallLimits,
  type JsonCollection,
  RecordCollection,
  type TypedCollection,
} from "./collection.ts";
import { collectionNameOf } from "./collection-name.ts";
import { type CloneOptions, type CopyOptions, cloneCollection, fetchCollection } from "./copies.ts";
import { localUrl } from "./default-url.ts";
import { DynamicTypes } from "./dynamic-types.ts";
import { CollectionFiles } from "./files.ts";
import { MessageCodec } from "./item-codec.ts";
import { JsonCodec } from "./json-codec.ts";
import { Mesh } from "./mesh.ts";
import { type RegisteredFileResult, registerFiles } from "./register.ts";
import { withRetries } from "./retries.ts";
import { createServices, type Services } from "./services.ts";
import { openTransport } from "./transport.ts";
import { type OpenTransport, overTransport } from "./transport-parts.ts";
import type { AttachOptions, Worker } from "./worker.ts";
import type { WorkerHandlers } from "./worker-handlers.ts";

/** Where a collector listens unless it is told otherwise. */
export const defaultUrl: string = localUrl;

const defaultTimeoutMs = 30_000;
const defaultRetries = 2;
const defaultMessageBytesMax = 4 * 1024 * 1024;

export interface ConnectOptions {
  /** As in `http://127.0.0.1:50051`; the default is COLLECTOR_URL, else the local server. */
  readonly url?: string | undefined;
  /** Namespace of every call; the default is COLLECTOR_NAMESPACE, else the server's default. */
  readonly namespace?: string | undefined;
  /** Sent as a bearer token; the default is COLLECTOR_TOKEN. */
  readonly token?: string | undefined;
  /** Deadline of calls that set none, in ms. */
  readonly timeoutMs?: number | undefined;
  /** How often a call is tried again that failed for a while only, and that may be run twice. Default: 2. */
  readonly retries?: number | undefined;
  /** Largest message to accept. */
  readonly messageBytesMax?: number | undefined;
  /** Authorities to trust instead of the system's, in PEM. */
  readonly ca?: string | undefined;
  /**
   * Instead of a connection, as `collector.transport` of a collector in this process. Whoever made it
   * closes it.
   */
  readonly transport?: Transport | undefined;
  /** Where the defaults are looked up. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/**
 * A client of a collector. Nothing is sent yet: the first call connects, and a lost connection is
 * opened again by the next call.
 *
 * @throws {ClientError} ARGUMENT_INVALID if the URL is none
 */
export async function connect(options: ConnectOptions = {}): Promise<Client> {
  return new Client(options);
}

/** One connection to a collector, for one namespace. Close it, or declare it with `await using`. */
export class Client implements AsyncDisposable {
  readonly url: string;
  /** Empty means the server's default. */
  readonly namespace: string;
  readonly services: Services;
  readonly #connection: OpenTransport;
  readonly #types: DynamicTypes;
  readonly #messageBytesMax: number;
  readonly #workers = new Set<Worker>();

  constructor(options: ConnectOptions = {}) {
    // Browsers have no environment.
    const env = options.env ?? globalThis.process?.env ?? {};
    this.url = parseUrl(options.url ?? (env["COLLECTOR_URL"] || defaultUrl));
    this.namespace = options.namespace ?? env["COLLECTOR_NAMESPACE"] ?? "";
    const token = options.token ?? env["COLLECTOR_TOKEN"];
    this.#messageBytesMax = options.messageBytesMax ?? defaultMessageBytesMax;
    const settings = {
      url: this.url,
      headers: {
        ...(this.namespace === "" ? {} : { "x-collector-namespace": this.namespace }),
        ...(token === undefined || token === "" ? {} : { authorization: `Bearer ${token}` }),
      },
      timeoutMs: options.timeoutMs ?? defaultTimeoutMs,
      messageBytesMax: this.#messageBytesMax,
      ca: options.ca,
    };
    const { transport: given } = options;
    const connection =
      given === undefined ? openTransport(settings) : overTransport(given, settings);
    const retries = options.retries ?? defaultRetries;
    const transport = withRetries(connection.transport, { retries });
    this.#connection = { transport, close: () => connection.close() };
    this.services = createServices(this.transport);
    this.#types = new DynamicTypes(this.services.types, this.namespace);
  }

  /** For clients of generated services; what it throws is a {@link ClientError}. */
  get transport(): Transport {
    return this.#connection.transport;
  }

  /**
   * The records of a collection whose type this program was built with.
   *
   * @param name or `namespace/name`, of a client that is not for one namespace
   */
  collection<Desc extends DescMessage>(name: string, schema: Desc): TypedCollection<Desc>;
  /** The records of a collection of whatever type, as JSON: the server tells the type when it is needed. */
  collection(name: string): JsonCollection;
  collection(text: string, schema?: DescMessage): TypedCollection<DescMessage> | JsonCollection {
    const { namespace, name } = collectionNameOf(text, this.namespace);
    const { records, streams } = this.services;
    const parts = { records, streams, namespace, name };
    if (schema !== undefined)
      return new RecordCollection({ ...parts, items: new MessageCodec(schema, name) });
    const typeName = async (): Promise<string> => {
      const { collectionDefinition } = await records.describe({ namespace, collectionName: name });
      return collectionDefinition?.messageType?.messageName ?? "";
    };
    const items = new JsonCodec({ types: this.typesOf(namespace), collection: name, typeName });
    return new RecordCollection({ ...parts, items });
  }

  /** A client of a service that this program was built with, registered ones included: a method each. */
  service<S extends DescService>(service: S): ServiceClient<S> {
    return createClient(service, this.transport);
  }

  /** The files of a collection and of its records. */
  files(collection: string): CollectionFiles {
    const { namespace, name } = collectionNameOf(collection, this.namespace);
    return new CollectionFiles({ files: this.services.files, namespace, collection: name });
  }

  /** Backups of collections: on the server's disk, and in files here. */
  get backups(): Backups {
    return new Backups({ services: this.services, namespace: this.namespace });
  }

  /** The links of the server to other collectors. */
  get mesh(): Mesh {
    return new Mesh(this.services);
  }

  /**
   * Copies a collection to another name, here or on another server. The copy is of one moment, and is
   * there, verified and durable, when the promise resolves; if that fails, everything is as it was.
   *
   * @param source `name`, or `namespace/name`
   * @param dest the same; empty if the copy is to be called as the source is
   * @throws {ClientError} COLLECTION_NOT_FOUND, COLLECTION_EXISTS, PEER_DENIED, PEER_UNAVAILABLE, CANCELLED
   */
  async clone(source: string, dest: string, options: CloneOptions = {}): Promise<CloneResponse> {
    return await cloneCollection(this.services, this.namespace, source, dest, options);
  }

  /**
   * Copies a collection from another server to this one, as {@link clone} does the other way.
   *
   * @param endpoint of the other server, as `host:port`
   * @throws {ClientError} as {@link clone}
   */
  async fetch(
    endpoint: string,
    source: string,
    dest = "",
    options: CopyOptions = {},
  ): Promise<FetchResponse> {
    const { services, namespace } = this;
    return await fetchCollection(services, namespace, endpoint, source, dest, options);
  }

  /** Calls a unary method of any service. @throws {ClientError} */
  async call<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    limits: CallLimits = {},
  ): Promise<MessageShape<O>> {
    const { signal, timeoutMs } = limits;
    const response = await this.transport.unary(method, signal, timeoutMs, undefined, request);
    return response.message;
  }

  /**
   * Calls a method by name, with JSON in and out; the server tells the types. Works for all kinds of
   * streams: requests are sent as they come, answers come as they arrive.
   *
   * @param method as in `shop.v1.Shop/Quote`
   * @throws {ClientError} SERVICE_NOT_FOUND, METHOD_UNIMPLEMENTED, JSON_INVALID, and what the method fails with
   */
  async *callJson(
    method: string,
    requests: Iterable<JsonValue> | AsyncIterable<JsonValue>,
    limits: CallLimits = {},
  ): AsyncIterable<JsonValue> {
    const desc = await this.method(method);
    const { signal, timeoutMs } = limits;
    const types = this.#types;
    if (desc.methodKind === "unary") {
      const request = await types.fromJson(desc.input, await onlyOne(requests, method));
      const response = await this.transport.unary(
        desc as DescMethodUnary,
        signal,
        timeoutMs,
        undefined,
        request,
      );
      yield await types.toJson(desc.output, response.message);
      return;
    }
    const encode = async function* (): AsyncIterable<Message> {
      for await (const json of requests) yield await types.fromJson(desc.input, json);
    };
    const stream = desc as DescMethodStreaming;
    const response = await this.transport.stream(stream, signal, timeoutMs, undefined, encode());
    for await (const message of response.message) yield await types.toJson(desc.output, message);
  }

  /** Finds a method as `package.Service/Method`. @throws {ClientError} SERVICE_NOT_FOUND, METHOD_UNIMPLEMENTED */
  async method(path: string): Promise<DescMethod> {
    const match = /^\/?([^/]+)\/([^/]+)$/.exec(path);
    const [, serviceName, methodName] = match ?? [];
    if (serviceName === undefined || methodName === undefined) {
      throw new ClientError(
        "ARGUMENT_INVALID",
        `\`${path}\` is no method: write it as package.Service/Method`,
        { code: Code.InvalidArgument },
      );
    }
    const service = await this.#types.service(serviceName);
    const method = service.methods.find(({ name }) => name === methodName);
    if (method !== undefined) return method;
    const names = service.methods.map(({ name }) => name).join(", ");
    throw new ClientError(
      "METHOD_UNIMPLEMENTED",
      `${service.typeName} has no method ${methodName}; it has ${names}`,
      { code: Code.Unimplemented },
    );
  }

  /** The types of a namespace, as the server has them. */
  typesOf(namespace: string): DynamicTypes {
    if (namespace === this.namespace) return this.#types;
    return new DynamicTypes(this.services.types, namespace);
  }

  /** A message type of the namespace. @throws {ClientError} TYPE_NOT_FOUND, TYPE_AMBIGUOUS */
  async messageType(name: string): Promise<DescMessage> {
    return await this.#types.message(name);
  }

  /** A message, enum or service of the namespace. @throws {ClientError} TYPE_NOT_FOUND, TYPE_AMBIGUOUS */
  async symbol(name: string): Promise<DescMessage | DescEnum | DescService> {
    return await this.#types.symbol(name);
  }

  /** Reads a message from JSON, with the types of the namespace. @throws {ClientError} JSON_INVALID */
  async fromJson(desc: DescMessage, json: JsonValue): Promise<Message> {
    return await this.#types.fromJson(desc, json);
  }

  /** The JSON of a message, with the types of the namespace. @throws {ClientError} TYPE_NOT_FOUND */
  async toJson(message: Message): Promise<JsonValue> {
    const desc = await this.#types.message(message.$typeName);
    return await this.#types.toJson(desc, message);
  }

  /**
   * Registers the files that define the given messages or services, and everything they import.
   *
   * @throws {ClientError} SCHEMA_INCOMPATIBLE, SYMBOL_EXISTS and the like; earlier files may be registered
   */
  async register(
    ...descs: readonly { readonly file: DescMessage["file"] }[]
  ): Promise<RegisteredFileResult[]> {
    const files = new Map<string, DescMessage["file"]>();
    const visit = (file: DescMessage["file"]): void => {
      if (files.has(file.proto.name) || file.proto.name.startsWith("google/protobuf/")) return;
      for (const dependency of file.dependencies) visit(dependency);
      files.set(file.proto.name, file);
    };
    for (const { file } of descs) visit(file);
    const protos = [...files.values()].map(({ proto }) => proto);
    return await registerFiles(this.services.registry, protos, { namespace: this.namespace });
  }

  /**
   * Runs the calls of a registered service in this program, over a stream that it opens: nothing has to
   * be able to dial it. A collector that is lost is looked for until it is back.
   *
   * @throws {ClientError} SERVICE_NOT_FOUND if the service is not registered; what else keeps it from
   * being attached now
   */
  async attach<S extends DescService>(
    service: S,
    handlers: WorkerHandlers<S>,
    options: AttachOptions = {},
  ): Promise<Worker> {
    const { hosts } = this.services;
    const parts = { hosts, messageBytesMax: this.#messageBytesMax };
    const worker = await attachService(service, handlers, parts, options);
    this.#workers.add(worker);
    void worker.ended.then(() => this.#workers.delete(worker));
    return worker;
  }

  /** Ends the connection; calls in flight fail, and workers stop. */
  close(): void {
    for (const worker of this.#workers) worker.stop();
    this.#connection.close();
  }

  /** Lets workers finish what they run, and ends the connection. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(Array.from(this.#workers, (worker) => worker.close()));
    this.close();
  }
}

/** Takes `host:port` too. */
function parseUrl(text: string): string {
  const url = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  const isHttp = url?.protocol === "http:" || url?.protocol === "https:";
  if (url !== null && isHttp && url.pathname === "/") return url.origin;
  throw new ClientError(
    "ARGUMENT_INVALID",
    `\`${text}\` is no address of a collector; write it as ${defaultUrl}`,
    { code: Code.InvalidArgument },
  );
}

async function onlyOne(
  requests: Iterable<JsonValue> | AsyncIterable<JsonValue>,
  method: string,
): Promise<JsonValue> {
  const all: JsonValue[] = [];
  for await (const request of requests) {
    all.push(request);
    if (all.length > 1) break;
  }
  const [first, second] = all;
  if (second === undefined) return first ?? {};
  throw new ClientError("ARGUMENT_INVALID", `${method} takes one request, not several`, {
    code: Code.InvalidArgument,
  });
}
