import { createRegistry, type DescFile, type Registry, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { file_grpc_health_v1_health } from "../gen/grpc/health/v1/health_pb.ts";
import {
  file_grpc_reflection_v1_reflection,
  type ServerReflection,
  type ServerReflectionRequest,
} from "../gen/grpc/reflection/v1/reflection_pb.ts";
import {
  file_grpc_reflection_v1alpha_reflection,
  type ServerReflection as ServerReflectionV1alpha,
  type ServerReflectionRequest as V1alphaRequest,
} from "../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { TypeSnapshot, TypeSource } from "../registry/type-snapshot.ts";
import type { Call, ServiceHandlers } from "./call.ts";
import { namespaceHeader } from "./interceptors/namespace.ts";

export interface ReflectionOptions {
  readonly types: TypeSource;
  /** Full names of the services that can be called in a namespace, in the order to list them. */
  readonly services: (namespace: string) => Iterable<string>;
  readonly defaultNamespace: string;
}

/** Files that no namespace's snapshot has: the protocols that describe a server itself. */
const infrastructureFiles: readonly DescFile[] = [
  file_grpc_health_v1_health,
  file_grpc_reflection_v1_reflection,
  file_grpc_reflection_v1alpha_reflection,
];

const infrastructure = createRegistry(...infrastructureFiles);

type Answer =
  | { case: "fileDescriptorResponse"; value: { fileDescriptorProto: Uint8Array[] } }
  | {
      case: "allExtensionNumbersResponse";
      value: { baseTypeName: string; extensionNumber: number[] };
    }
  | { case: "listServicesResponse"; value: { service: { name: string }[] } }
  | { case: "errorResponse"; value: { errorCode: number; errorMessage: string } };

interface Reply {
  readonly validHost: string;
  readonly messageResponse: Answer;
}

/** What both versions of the protocol ask alike. */
interface Question {
  readonly host: string;
  readonly messageRequest: (ServerReflectionRequest | V1alphaRequest)["messageRequest"];
}

/**
 * `grpc.reflection.v1.ServerReflection` over the registry: run-time types and services are seen as
 * soon as they are registered. Which namespace is meant is said by `x-collector-namespace`.
 */
export function reflectionHandlers(
  options: ReflectionOptions,
): ServiceHandlers<typeof ServerReflection> {
  return {
    async *serverReflectionInfo(requests, call) {
      const answer = answerer(options, call);
      for await (const originalRequest of requests) {
        yield { ...answer(originalRequest), originalRequest };
      }
    },
  };
}

/** The same for `grpc.reflection.v1alpha`, which many tools still speak. */
export function reflectionV1alphaHandlers(
  options: ReflectionOptions,
): ServiceHandlers<typeof ServerReflectionV1alpha> {
  return {
    async *serverReflectionInfo(requests, call) {
      const answer = answerer(options, call);
      for await (const originalRequest of requests) {
        yield { ...answer(originalRequest), originalRequest };
      }
    },
  };
}

/** Answers the questions of one stream, on which no file is sent twice as a dependency. */
function answerer(options: ReflectionOptions, call: Call): (question: Question) => Reply {
  const sent = new Set<string>();
  return (question) => {
    const namespace = call.requestMetadata.get(namespaceHeader) ?? options.defaultNamespace;
    const snapshot = options.types.snapshot(namespace);
    const services = (): Iterable<string> => options.services(namespace);
    return {
      validHost: question.host,
      messageResponse: answerOne(question, snapshot, services, sent),
    };
  };
}

function answerOne(
  { messageRequest }: Question,
  snapshot: TypeSnapshot,
  services: () => Iterable<string>,
  sent: Set<string>,
): Answer {
  switch (messageRequest.case) {
    case "fileByFilename": {
      const file = filesOf(snapshot).get(messageRequest.value);
      return file === undefined ? notFound("file", messageRequest.value) : fileAnswer(file, sent);
    }
    case "fileContainingSymbol": {
      const file = fileOfSymbol(snapshot, messageRequest.value);
      return file === undefined ? notFound("symbol", messageRequest.value) : fileAnswer(file, sent);
    }
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = messageRequest.value;
      const message = snapshot.types.getMessage(containingType);
      const extension = message && snapshot.types.getExtensionFor(message, extensionNumber);
      return extension === undefined
        ? notFound("extension", `${extensionNumber} of ${containingType}`)
        : fileAnswer(extension.file, sent);
    }
    case "allExtensionNumbersOfType":
      return extensionsAnswer(snapshot, messageRequest.value);
    case "listServices":
      return {
        case: "listServicesResponse",
        value: { service: Array.from(services(), (name) => ({ name })) },
      };
    case undefined:
    default:
      return failure(Code.InvalidArgument, "message_request: one of its fields must be set");
  }
}

function extensionsAnswer(snapshot: TypeSnapshot, typeName: string): Answer {
  if (snapshot.types.getMessage(typeName) === undefined) return notFound("message", typeName);
  const numbers: number[] = [];
  for (const type of snapshot.types) {
    if (type.kind === "extension" && type.extendee.typeName === typeName) numbers.push(type.number);
  }
  numbers.sort((a, b) => a - b);
  return {
    case: "allExtensionNumbersResponse",
    value: { baseTypeName: typeName, extensionNumber: numbers },
  };
}

/** The file, then what it depends on, less what the stream has carried. */
function fileAnswer(file: DescFile, sent: Set<string>): Answer {
  const files = new Set<DescFile>([file]);
  for (const next of files) for (const dependency of next.dependencies) files.add(dependency);
  const fileDescriptorProto: Uint8Array[] = [];
  for (const next of files) {
    if (next !== file && sent.has(next.proto.name)) continue;
    sent.add(next.proto.name);
    fileDescriptorProto.push(toBinary(FileDescriptorProtoSchema, next.proto));
  }
  return { case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}

function notFound(kind: string, name: string): Answer {
  return failure(Code.NotFound, `${kind} ${name.slice(0, 512)} is not known here`);
}

function failure(errorCode: Code, errorMessage: string): Answer {
  return { case: "errorResponse", value: { errorCode, errorMessage } };
}

const filesBySnapshot = new WeakMap<TypeSnapshot, Map<string, DescFile>>();

/** Every file of a snapshot by name, those included that others only import. */
function filesOf(snapshot: TypeSnapshot): Map<string, DescFile> {
  const known = filesBySnapshot.get(snapshot);
  if (known !== undefined) return known;
  const found = new Set<DescFile>(infrastructureFiles);
  for (const type of snapshot.types) found.add(type.file);
  for (const file of found) for (const dependency of file.dependencies) found.add(dependency);
  const files = new Map<string, DescFile>();
  for (const file of found) files.set(file.proto.name, file);
  filesBySnapshot.set(snapshot, files);
  return files;
}

function fileOfSymbol(snapshot: TypeSnapshot, symbol: string): DescFile | undefined {
  const name = symbol.startsWith(".") ? symbol.slice(1) : symbol;
  const dot = name.lastIndexOf(".");
  for (const types of [snapshot.types, infrastructure]) {
    const file =
      types.get(name)?.file ??
      fileOfMember(types, name.slice(0, Math.max(0, dot)), name.slice(dot + 1));
    if (file !== undefined) return file;
  }
  return undefined;
}

/** The file of a field, oneof, method or enum value. */
function fileOfMember(types: Registry, parent: string, member: string): DescFile | undefined {
  const type = types.get(parent);
  const is = ({ name }: { readonly name: string }): boolean => name === member;
  if (type?.kind === "message" && (type.fields.some(is) || type.oneofs.some(is))) return type.file;
  if (type?.kind === "service" && type.methods.some(is)) return type.file;
  // An enum's values are named beside the enum, not under it.
  for (const other of types) {
    if (other.kind !== "enum") continue;
    const scope = other.parent?.typeName ?? other.file.proto.package;
    if (scope === parent && other.values.some(is)) return other.file;
  }
  return undefined;
}
