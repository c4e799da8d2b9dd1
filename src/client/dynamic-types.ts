import {
  create,
  createFileRegistry,
  createRegistry,
  type DescEnum,
  type DescExtension,
  type DescMessage,
  type DescService,
  fromJson,
  type JsonValue,
  type Message,
  type Registry,
  toJson,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import {
  type Any,
  AnySchema,
  anyUnpack,
  type FileDescriptorProto,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { file_collector_collection_admin } from "../gen/collector/collection_admin_pb.ts";
import { file_collector_collection_repo } from "../gen/collector/collection_repo_pb.ts";
import { file_collector_collection_server } from "../gen/collector/collection_server_pb.ts";
import { file_collector_dispatcher } from "../gen/collector/dispatcher_pb.ts";
import { file_collector_namespaces } from "../gen/collector/namespaces_pb.ts";
import { file_collector_operations } from "../gen/collector/operations_pb.ts";
import { file_collector_registry } from "../gen/collector/registry_pb.ts";
import { file_collector_type_registry } from "../gen/collector/type_registry_pb.ts";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { file_google_rpc_status } from "../gen/google/rpc/status_pb.ts";
import { ClientError } from "./client-error.ts";
import type { Services } from "./services.ts";

/** The types that this client is built with. */
const builtIn = createRegistry(
  file_collector_collection_admin,
  file_collector_collection_repo,
  file_collector_collection_server,
  file_collector_dispatcher,
  file_collector_namespaces,
  file_collector_operations,
  file_collector_registry,
  file_collector_type_registry,
  file_google_rpc_error_details,
  file_google_rpc_status,
);

type DescType = DescMessage | DescEnum | DescExtension | DescService;

/** How deep an Any may hold another. */
const anyDepthMax = 16;

/**
 * The types of one namespace as the server has them, fetched when they are first needed and kept.
 *
 * So a program can read and write messages, in JSON, that it was not built with.
 */
export class DynamicTypes {
  readonly #types: Services["types"];
  readonly #namespace: string;
  readonly #files = new Map<string, FileDescriptorProto>();
  readonly #unknown = new Set<string>();
  #registry: Registry = builtIn;

  constructor(types: Services["types"], namespace: string) {
    this.#types = types;
    this.#namespace = namespace;
  }

  /** @throws {ClientError} SERVICE_NOT_FOUND, TYPE_AMBIGUOUS */
  async service(name: string): Promise<DescService> {
    const known = this.#registry.getService(name);
    if (known !== undefined) return known;
    try {
      await this.#fetch(name);
    } catch (error) {
      // The registry is asked for a symbol of any kind, and says so.
      if (!(error instanceof ClientError) || error.reason !== "TYPE_NOT_FOUND") throw error;
      throw noService(name, error);
    }
    const found = this.#registry.getService(name) ?? this.#endingWith(name, "service");
    if (found?.kind === "service") return found;
    throw noService(name);
  }

  /** @throws {ClientError} TYPE_NOT_FOUND, TYPE_AMBIGUOUS */
  async message(name: string): Promise<DescMessage> {
    const known = this.#registry.getMessage(name);
    if (known !== undefined) return known;
    await this.#fetch(name);
    const found = this.#registry.getMessage(name) ?? this.#endingWith(name, "message");
    if (found?.kind === "message") return found;
    throw new ClientError("TYPE_NOT_FOUND", `\`${name}\` is no message`, { code: Code.NotFound });
  }

  /** A message type as the server has it now. @throws {ClientError} TYPE_NOT_FOUND */
  async refresh(name: string): Promise<DescMessage> {
    await this.#fetch(name);
    return await this.message(name);
  }

  /** A message, enum or service. @throws {ClientError} TYPE_NOT_FOUND, TYPE_AMBIGUOUS */
  async symbol(name: string): Promise<DescMessage | DescEnum | DescService> {
    const known = asSymbol(this.#registry.get(name));
    if (known !== undefined) return known;
    await this.#fetch(name);
    const found =
      asSymbol(this.#registry.get(name)) ??
      this.#endingWith(name, "message") ??
      this.#endingWith(name, "service");
    if (found !== undefined) return found;
    throw new ClientError(
      "TYPE_NOT_FOUND",
      `\`${name}\` is neither a message, an enum nor a service`,
      {
        code: Code.NotFound,
      },
    );
  }

  /**
   * Reads a message from JSON; an Any names its type by `@type`.
   *
   * @throws {ClientError} JSON_INVALID with the key at fault
   */
  async fromJson(desc: DescMessage, json: JsonValue): Promise<Message> {
    for (const name of typesIn(json)) await this.#fetchIfThere(name);
    try {
      return fromJson(desc, json, { registry: this.#registry });
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      throw new ClientError("JSON_INVALID", text, { cause: error, code: Code.InvalidArgument });
    }
  }

  /**
   * The JSON of a message. An Any of a type that the server does not know is
   * `{"@type": …, "value": base64}`, and its value is replaced in `message`.
   */
  async toJson(desc: DescMessage, message: Message): Promise<JsonValue> {
    for (let depth = 0; depth < anyDepthMax; depth += 1) {
      const missing = new Set<string>();
      visitAnys(reflect(desc, message), this.#registry, (any) => missing.add(typeOf(any)));
      if (missing.size === 0) break;
      for (const name of missing) await this.#fetchIfThere(name);
      if ([...missing].every((name) => this.#unknown.has(name))) break;
    }
    const opaque = new Set<string>();
    visitAnys(reflect(desc, message), this.#registry, (any) => {
      opaque.add(typeOf(any));
      any.value = new BinaryWriter().tag(1, WireType.LengthDelimited).bytes(any.value).finish();
    });
    const registry =
      opaque.size === 0 ? this.#registry : createRegistry(this.#registry, opaqueTypes(opaque));
    return toJson(desc, message, { registry });
  }

  async #fetchIfThere(name: string): Promise<void> {
    if (this.#registry.getMessage(name) !== undefined || this.#unknown.has(name)) return;
    try {
      await this.#fetch(name);
    } catch (error) {
      const isMissing = error instanceof ClientError && error.code === Code.NotFound;
      if (!isMissing) throw error;
    }
    if (this.#registry.getMessage(name) === undefined) this.#unknown.add(name);
  }

  async #fetch(symbol: string): Promise<void> {
    const { fileDescriptorSet } = await this.#types.getFileDescriptorSet({
      namespace: this.#namespace,
      symbols: [symbol],
    });
    for (const file of fileDescriptorSet?.file ?? []) this.#files.set(file.name, file);
    const file = [...this.#files.values()];
    const fetched = createFileRegistry(create(FileDescriptorSetSchema, { file }));
    this.#registry = createRegistry(fetched, builtIn);
  }

  /** The server takes a short name that is unambiguous, and answers the file it is in. */
  #endingWith(name: string, kind: "message" | "service"): DescMessage | DescService | undefined {
    const wanted = name.replace(/^\./, "");
    for (const type of this.#registry) {
      const matches = type.typeName === wanted || type.typeName.endsWith(`.${wanted}`);
      if (matches && type.kind === kind && (type.kind === "message" || type.kind === "service")) {
        return type;
      }
    }
    return undefined;
  }
}

function noService(name: string, cause?: ClientError): ClientError {
  const message = `there is no service "${name}"`;
  return new ClientError("SERVICE_NOT_FOUND", message, { code: Code.NotFound, cause });
}

function asSymbol(type: DescType | undefined): DescMessage | DescEnum | DescService | undefined {
  return type === undefined || type.kind === "extension" ? undefined : type;
}

/** The type that an Any says it holds. */
function typeOf(any: Any): string {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1);
}

/** Calls `unresolved` for every Any in the message whose type the registry does not have. */
function visitAnys(
  message: ReflectMessage,
  registry: Registry,
  unresolved: (any: Any) => void,
  depth = 0,
): void {
  if (depth > anyDepthMax) return;
  if (message.desc.typeName === AnySchema.typeName) {
    visitAny(message.message as Any, registry, unresolved, depth);
    return;
  }
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const visit = (value: unknown): void => {
      visitAnys(value as ReflectMessage, registry, unresolved, depth);
    };
    if (field.fieldKind === "message") {
      visit(message.get(field));
    } else if (field.fieldKind === "list" && field.listKind === "message") {
      for (const item of message.get(field)) visit(item);
    } else if (field.fieldKind === "map" && field.mapKind === "message") {
      for (const item of message.get(field).values()) visit(item);
    }
  }
}

function visitAny(
  any: Any,
  registry: Registry,
  unresolved: (any: Any) => void,
  depth: number,
): void {
  if (any.typeUrl === "") return;
  const desc = registry.getMessage(typeOf(any));
  if (desc === undefined) {
    unresolved(any);
    return;
  }
  const inner = anyUnpack(any, registry);
  if (inner === undefined) return;
  visitAnys(reflect(desc, inner), registry, unresolved, depth + 1);
}

/** Stand-ins for unknown types, with the JSON form `{ "value": base64 }`. */
function opaqueTypes(names: Iterable<string>): Registry {
  const file = [...names].map((name, index): FileDescriptorProto => {
    const dot = name.lastIndexOf(".");
    const value = { name: "value", number: 1, label: 1, type: 12, jsonName: "value" };
    const [set] = create(FileDescriptorSetSchema, {
      file: [
        {
          name: `opaque/${index}.proto`,
          package: name.slice(0, Math.max(0, dot)),
          syntax: "proto3",
          messageType: [{ name: name.slice(dot + 1), field: [value] }],
        },
      ],
    }).file;
    if (set === undefined) throw new Error("a set of one file has none");
    return set;
  });
  return createFileRegistry(create(FileDescriptorSetSchema, { file }));
}

/** Every type that JSON names by `@type`. */
function typesIn(json: JsonValue, found: Set<string> = new Set()): Set<string> {
  if (typeof json !== "object" || json === null) return found;
  if (Array.isArray(json)) {
    for (const item of json) typesIn(item, found);
    return found;
  }
  for (const [key, value] of Object.entries(json)) {
    if (key === "@type" && typeof value === "string")
      found.add(value.slice(value.lastIndexOf("/") + 1));
    else typesIn(value, found);
  }
  return found;
}
