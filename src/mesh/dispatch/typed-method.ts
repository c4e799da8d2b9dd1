import { type DescMessage, type DescMethod } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../../errors.ts";
import type { ServiceTypeRef } from "../../gen/collector/common_pb.ts";
import { checkWire } from "../../lib/wire-check.ts";
import { quote } from "../../registry/names.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { MetadataEntries } from "../channel.ts";

/** A call of one message for one message, as Serve and Dispatch are asked for it. */
export interface TypedRequest {
  readonly namespace: string;
  readonly service?: ServiceTypeRef | undefined;
  readonly methodName: string;
  readonly input?: Any | undefined;
}

/** What such a call is of, checked. */
export interface TypedMethod {
  readonly namespace: string;
  /** Full name. */
  readonly serviceName: string;
  readonly methodName: string;
  readonly desc: DescMethod;
  /** Bytes of the method's request type. */
  readonly input: Uint8Array;
}

/** A call of a registered method, and what its implementation is told besides. */
export interface MethodCall extends Pick<TypedMethod, "namespace" | "desc" | "input"> {
  readonly context: MetadataEntries;
}

/** What a method has answered, and who that was. */
export interface MethodAnswer {
  /** As the implementation has sent it. */
  readonly output: Uint8Array;
  readonly executorId: string;
}

/** Methods that run others: run by themselves, a small request could be a great many calls. */
const notServed: ReadonlySet<string> = new Set([
  "collector.CollectionService/Invoke",
  "collector.CollectiveDispatcher/Dispatch",
  "collector.CollectiveDispatcher/Serve",
]);

const typePrefix = "type.googleapis.com/";

/**
 * Finds the method of a call and checks its input: first what is asked for, then whether it is
 * registered, then whether the input is of its request type.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, TYPE_AMBIGUOUS; METHOD_NOT_REGISTERED
 */
export function resolveTyped(types: TypeSource, request: TypedRequest): TypedMethod {
  const { namespace, methodName, service, input } = request;
  if (service === undefined || service.serviceName === "") {
    throw invalidField("ARGUMENT_MISSING", "service.service_name", "names no service");
  }
  if (methodName === "") throw invalidField("ARGUMENT_MISSING", "method_name", "names no method");
  const desc = findMethod(types, namespace, service.serviceName, methodName);
  checkServable(desc);
  return {
    namespace,
    serviceName: desc.parent.typeName,
    methodName: desc.name,
    desc,
    input: readInput(input, desc.input),
  };
}

/** @throws {CollectorError} ARGUMENT_INVALID for what is not run with an Any */
export function checkServable({ parent, name, methodKind }: DescMethod): void {
  const path = `${parent.typeName}/${name}`;
  const problem =
    methodKind !== "unary"
      ? `is a stream; call it as /${path}`
      : notServed.has(path)
        ? `${path} is not run by another method; call it as itself`
        : undefined;
  if (problem !== undefined) throw invalidField("ARGUMENT_INVALID", "method_name", problem);
}

/** The answer of a method, as an Any of its response type. @throws {CollectorError} ANSWER_INVALID */
export function packOutput({ desc }: Pick<TypedMethod, "desc">, bytes: Uint8Array): Any {
  try {
    checkWire(desc.output, bytes);
  } catch (cause) {
    throw new CollectorError(
      "ANSWER_INVALID",
      `the implementation answered bytes that are no ${desc.output.typeName}`,
      { cause },
    );
  }
  return { $typeName: AnySchema.typeName, typeUrl: typeUrlOf(desc.output), value: bytes };
}

const typeUrls = new WeakMap<DescMessage, string>();

/** Made once for a type. */
function typeUrlOf(desc: DescMessage): string {
  let url = typeUrls.get(desc);
  if (url === undefined) {
    url = typePrefix + desc.typeName;
    typeUrls.set(desc, url);
  }
  return url;
}

/**
 * A registered method by names that may be short.
 *
 * @throws {CollectorError} METHOD_NOT_REGISTERED, TYPE_AMBIGUOUS
 */
export function findMethod(
  types: TypeSource,
  namespace: string,
  serviceName: string,
  methodName: string,
): DescMethod {
  const snapshot = types.snapshot(namespace);
  let service;
  try {
    service = snapshot.service(serviceName);
  } catch (error) {
    if (!(error instanceof CollectorError) || error.reason !== "SERVICE_NOT_FOUND") throw error;
    throw notRegistered(namespace, serviceName, methodName, error.message);
  }
  const method = snapshot.method(service.typeName, methodName);
  if (method !== undefined) return method;
  const names = service.methods.map(({ name }) => name).join(", ");
  throw notRegistered(
    namespace,
    service.typeName,
    methodName,
    `${service.typeName} has no method ${quote(methodName)} in namespace \`${namespace}\`; it has ${names}`,
  );
}

function notRegistered(
  namespace: string,
  service: string,
  method: string,
  message: string,
): CollectorError {
  const subject = { namespace, service: service.slice(0, 512), method: method.slice(0, 128) };
  return new CollectorError("METHOD_NOT_REGISTERED", message, { subject });
}

/** @throws {CollectorError} ARGUMENT_INVALID if the input is there and not of the type */
export function readInput(input: Any | undefined, expected: DescMessage): Uint8Array {
  if (input === undefined) return new Uint8Array();
  const { typeUrl, value } = input;
  const name = typeUrl.slice(typeUrl.lastIndexOf("/") + 1);
  if (name !== expected.typeName) {
    const seen = name === "" ? "has no type" : `is a ${quote(name.slice(0, 200))}`;
    throw invalidField(
      "ARGUMENT_INVALID",
      "input",
      `${seen}; the method takes ${expected.typeName}`,
    );
  }
  try {
    checkWire(expected, value);
  } catch {
    throw invalidField("ARGUMENT_INVALID", "input", `holds bytes that are no ${expected.typeName}`);
  }
  return value;
}
