import { type DescField, type DescMethod, type Message, ScalarType } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../../errors.ts";
import { CollectionSchema } from "../../gen/collector/collection_pb.ts";
import {
  MessageTypeRefSchema,
  NamespacedNameSchema,
  ServiceTypeRefSchema,
} from "../../gen/collector/common_pb.ts";
import { FileNameSchema } from "../../gen/collector/files_pb.ts";
import type { Call, Interceptor, Invocation, Payload } from "../call.ts";

/** The header that carries the namespace of a call whose request has no field for it. */
export const namespaceHeader = "x-collector-namespace";

/** Methods whose empty namespace means: every namespace that the caller may see. */
const emptyMeansAll: ReadonlySet<string> = new Set([
  "collector.Backups/BackupServer",
  "collector.CollectionRepo/Discover",
  "collector.CollectionRepo/ListBackups",
  "collector.CollectorRegistry/ListServices",
  "collector.Operations/ListOperations",
]);

/** Methods that are about two namespaces: nested ones need not agree. */
const aboutTwo: ReadonlySet<string> = new Set([
  "collector.CollectionRepo/Clone",
  "collector.CollectionRepo/Fetch",
  "collector.CollectionRepo/PushCollection",
  "collector.CollectionRepo/RestoreBackup",
]);

const carriers: ReadonlySet<string> = new Set([
  CollectionSchema.typeName,
  FileNameSchema.typeName,
  MessageTypeRefSchema.typeName,
  NamespacedNameSchema.typeName,
  ServiceTypeRefSchema.typeName,
]);

type Fields = Record<string, unknown>;

/** Where a request holds namespaces: its own, and those of the references in it. */
interface NamespacePlan {
  /** The way from the request down to the message whose `namespace` is the call's. */
  readonly own: readonly DescField[] | undefined;
  /** The same for every reference that inherits it. */
  readonly inherited: readonly (readonly DescField[])[];
  readonly emptyMeansAll: boolean;
}

/**
 * Settles the namespace of a call, by design: the request's field, else the header, else the
 * default. References in the request inherit it. Afterwards no namespace field is empty, except
 * where empty means all.
 */
export function resolveNamespace(method: DescMethod, defaultNamespace: string): Interceptor {
  const plan = planFor(method);
  return (next) => (input, call) => {
    if (Symbol.asyncIterator in input)
      return settleStream(input, call, plan, defaultNamespace, next);
    settle(input, call, plan, defaultNamespace);
    return next(input, call);
  };
}

/** Of a stream, the first message says what the call is about, if a message of it can. */
async function settleStream(
  messages: AsyncIterable<Message>,
  call: Call,
  plan: NamespacePlan,
  defaultNamespace: string,
  next: Invocation,
): Promise<Payload> {
  const header = readHeader(call);
  if (plan.own === undefined) {
    call.namespace = header ?? defaultNamespace;
    return next(messages, call);
  }
  const iterator = messages[Symbol.asyncIterator]();
  const first = await iterator.next();
  if (first.done === true) call.namespace = header ?? defaultNamespace;
  else settle(first.value, call, plan, defaultNamespace);
  return next(putBack(first, iterator), call);
}

/** The stream as it was before its first message was taken. */
function putBack<T>(first: IteratorResult<T>, rest: AsyncIterator<T>): AsyncIterable<T> {
  let isFirst = true;
  const whole: AsyncIterableIterator<T> = {
    [Symbol.asyncIterator]: () => whole,
    next: () => {
      if (!isFirst) return rest.next();
      isFirst = false;
      return Promise.resolve(first);
    },
    return: async (value) => (await rest.return?.(value)) ?? { done: true, value: undefined },
  };
  return whole;
}

/**
 * The same for methods of services that are registered at run time: their messages are not looked at,
 * so the header says it, else it is the default.
 */
export function resolveHeaderNamespace(defaultNamespace: string): Interceptor {
  return (next) => (input, call) => {
    call.namespace = readHeader(call) ?? defaultNamespace;
    return next(input, call);
  };
}

/** @throws {CollectorError} NAME_INVALID */
export function checkNamespaceHeader(header: string): void {
  checkName(header, namespaceHeader);
}

function readHeader(call: Call): string | undefined {
  const header = call.requestMetadata.get(namespaceHeader);
  if (header !== undefined) checkNamespaceHeader(header);
  return header;
}

function settle(input: Message, call: Call, plan: NamespacePlan, defaultNamespace: string): void {
  const header = readHeader(call);
  const holder = plan.own === undefined ? undefined : descend(input, plan.own);
  const given = holder?.["namespace"];
  const named = typeof given === "string" && given !== "" ? given : undefined;
  if (named !== undefined) {
    checkName(named, plan.own ?? []);
    if (header !== undefined && header !== named) {
      throw mismatch(fieldName(plan.own ?? []), named, `${namespaceHeader} says \`${header}\``);
    }
  }
  const namespace = named ?? header ?? (plan.emptyMeansAll ? "" : defaultNamespace);
  call.namespace = namespace === "" ? defaultNamespace : namespace;
  if (namespace === "") return;
  if (holder !== undefined) holder["namespace"] = namespace;
  for (const path of plan.inherited) inherit(input, path, namespace);
}

function inherit(input: Message, path: readonly DescField[], namespace: string): void {
  const reference = descend(input, path);
  if (reference === undefined) return;
  const given = reference["namespace"];
  if (typeof given !== "string" || given === "") reference["namespace"] = namespace;
  else if (given !== namespace) {
    throw mismatch(fieldName(path), given, `the call is about \`${namespace}\``);
  }
}

function descend(message: Message, path: readonly DescField[]): Fields | undefined {
  let current: unknown = message;
  for (const field of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = valueOf(current as Fields, field);
  }
  return typeof current === "object" && current !== null ? (current as Fields) : undefined;
}

/** The value of a field, which of a oneof lies under the name of that. */
function valueOf(fields: Fields, field: DescField): unknown {
  if (field.oneof === undefined) return fields[field.localName];
  const chosen = fields[field.oneof.localName] as Fields;
  return chosen["case"] === field.localName ? chosen["value"] : undefined;
}

function planFor(method: DescMethod): NamespacePlan {
  const name = `${method.parent.typeName}/${method.name}`;
  const references = method.input.fields.filter(isCarrier);
  const direct = method.input.fields.some(isNamespaceField);
  const first = references.find(
    (field) => field.message?.typeName !== MessageTypeRefSchema.typeName,
  );
  const own = direct ? [] : first === undefined ? headerPath(method) : [first];
  const inherited: DescField[][] = [];
  if (!aboutTwo.has(name)) {
    for (const field of references) {
      if (direct || field !== first) inherited.push([field]);
      for (const nested of field.message?.fields.filter(isCarrier) ?? []) {
        inherited.push([field, nested]);
      }
    }
  }
  return { own, inherited, emptyMeansAll: emptyMeansAll.has(name) };
}

/** The way to the namespace in a stream whose first message alone is a header. */
function headerPath({
  methodKind,
  input,
  name,
  parent,
}: DescMethod): readonly DescField[] | undefined {
  if (methodKind !== "client_streaming" && methodKind !== "bidi_streaming") return undefined;
  if (aboutTwo.has(`${parent.typeName}/${name}`)) return undefined;
  for (const field of input.fields) {
    const nested = field.fieldKind === "message" ? field.message.fields.find(isCarrier) : undefined;
    if (nested !== undefined) return [field, nested];
  }
  const [first] = input.fields;
  const isOwner = first?.fieldKind === "message" && first.message.fields.some(isNamespaceField);
  if (isOwner) return [first];
  return undefined;
}

function isNamespaceField(field: DescField): boolean {
  return (
    field.name === "namespace" && field.fieldKind === "scalar" && field.scalar === ScalarType.STRING
  );
}

function isCarrier(field: DescField): field is DescField & { fieldKind: "message" } {
  return field.fieldKind === "message" && carriers.has(field.message.typeName);
}

/** Path of the namespace field at the end of `path`, by proto names. */
function fieldName(path: readonly DescField[]): string {
  return [...path.map((field) => field.name), "namespace"].join(".");
}

function checkName(name: string, field: string | readonly DescField[]): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(name)) {
    throw invalidField(
      "NAME_INVALID",
      typeof field === "string" ? field : fieldName(field),
      "a namespace has 1–128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit",
    );
  }
}

function mismatch(field: string, given: string, other: string): CollectorError {
  return invalidField(
    "NAMESPACE_MISMATCH",
    field,
    `is \`${given}\` but ${other}; leave one of them out`,
  );
}
