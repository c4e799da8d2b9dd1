import { clone, type DescService, equals } from "@bufbuild/protobuf";
import { type ServiceDescriptorProto, ServiceDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../errors.ts";
import type { RegisteredService } from "../gen/collector/registry_pb.ts";
import type { PageRequest } from "../lib/page-token.ts";
import { didYouMean } from "../lib/suggest.ts";
import type { BuiltIns } from "./built-ins.ts";
import { quote } from "./names.ts";
import type { NamespaceDraft, NamespaceState, ServiceState } from "./namespace-state.ts";
import { byKey, type PageLimits, pageOf } from "./queries.ts";
import { originOf, toRegisteredService, writtenAt } from "./records.ts";
import { builtInVersion, type LinkedFile } from "./schema/linked-file.ts";
import { type Hosting, hostingOf, idempotentMethods } from "./service-hosting.ts";
import type { NamespaceSnapshot } from "./snapshot.ts";

/** The service that a registration is about. What is not known is left empty. */
export interface ServiceChoice {
  /** Short or full name. */
  readonly serviceName: string;
  /** The registered file that defines it. */
  readonly fileName: string;
  /** Its definition; if it is given, the file's must be the same. */
  readonly serviceDescriptor: ServiceDescriptorProto | undefined;
}

/** A service of a file in force. */
export interface ChosenService {
  readonly fullName: string;
  readonly descriptor: ServiceDescriptorProto;
  readonly file: LinkedFile;
  readonly builtIn: boolean;
}

export interface ServicesPage {
  readonly services: readonly RegisteredService[];
  /** Empty on the last page. */
  readonly nextPageToken: string;
}

export interface MethodVerdict {
  readonly isValid: boolean;
  /** Why not; empty if it is valid. */
  readonly message: string;
}

/**
 * Finds the one service that a registration means.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, FILE_NOT_FOUND, SERVICE_NOT_FOUND,
 * TYPE_AMBIGUOUS
 */
export function chooseService(
  draft: NamespaceDraft,
  builtIns: BuiltIns,
  choice: ServiceChoice,
): ChosenService {
  const { fileName, serviceDescriptor } = choice;
  const given = serviceDescriptor?.name ?? "";
  const name = (choice.serviceName || given).replace(/^\./, "");
  if (given !== "" && name !== given && !name.endsWith(`.${given}`)) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "service_name",
      `is ${quote(name)}, the descriptor's ${quote(given)}`,
    );
  }
  if (name === "" && fileName === "") {
    throw invalidField(
      "ARGUMENT_MISSING",
      "service_name",
      "is missing; send the name of a service of a registered file, or the file itself",
    );
  }
  const all = servicesOf(draft, builtIns, fileName);
  const named = all.filter(
    ({ fullName }) => name === "" || fullName === name || fullName.endsWith(`.${name}`),
  );
  const found = named.find(({ fullName }) => fullName === name) ?? named[0];
  if (found === undefined) throw notFound(draft.namespace, name, fileName, all);
  if (named.length > 1 && found.fullName !== name) {
    const listed = named.map(({ fullName }) => fullName).slice(0, 8);
    throw new CollectorError(
      "TYPE_AMBIGUOUS",
      `service_name ${quote(name)} may be ${listed.join(", ")}; send the full name`,
      { subject: { namespace: draft.namespace, name } },
    );
  }
  if (serviceDescriptor !== undefined && !sameService(serviceDescriptor, found.descriptor)) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "service_descriptor",
      `differs from ${found.fullName} in the registered file ${quote(found.file.name)}; register the changed file first, or send it as file_descriptor`,
    );
  }
  return found;
}

function servicesOf(draft: NamespaceDraft, builtIns: BuiltIns, fileName: string): ChosenService[] {
  const result: ChosenService[] = [];
  const add = (file: LinkedFile, isWanted: (name: string) => boolean, builtIn: boolean): void => {
    for (const entry of file.index.types.values()) {
      if (entry.kind !== "service" || !isWanted(entry.fullName)) continue;
      result.push({ fullName: entry.fullName, descriptor: entry.proto, file, builtIn });
    }
  };
  const isServed = (name: string) => builtIns.services.has(name);
  if (fileName !== "") {
    const own = draft.files.get(fileName);
    const builtIn = builtIns.files.get(fileName);
    if (own !== undefined) add(own.linked, () => true, false);
    else if (builtIn !== undefined) add(builtIn, isServed, true);
    else {
      throw new CollectorError(
        "FILE_NOT_FOUND",
        `file_name: there is no file ${quote(fileName)} in namespace ${draft.namespace}${didYouMean(fileName, draft.files.keys())}`,
        { subject: { namespace: draft.namespace, file: fileName.slice(0, 512) } },
      );
    }
    return result;
  }
  for (const { linked } of draft.files.values()) add(linked, () => true, false);
  for (const file of builtIns.files.values()) add(file, isServed, true);
  return result;
}

function notFound(
  namespace: string,
  name: string,
  fileName: string,
  all: readonly ChosenService[],
): CollectorError {
  const where = fileName === "" ? `in namespace ${namespace}` : `in ${quote(fileName)}`;
  const hint = didYouMean(
    name,
    all.map(({ fullName }) => fullName),
  );
  const what = name === "" ? "no service" : `no service ${quote(name)}`;
  return new CollectorError(
    "SERVICE_NOT_FOUND",
    `there is ${what} ${where}${hint || "; register the file that defines it first, or send it as file_descriptor"}`,
    { subject: { namespace, service: name.slice(0, 512) } },
  );
}

/** Type names in a descriptor may lack the leading dot. */
function sameService(sent: ServiceDescriptorProto, known: ServiceDescriptorProto): boolean {
  const copy = clone(ServiceDescriptorProtoSchema, sent);
  for (const method of copy.method) {
    if (!method.inputType.startsWith(".")) method.inputType = `.${method.inputType}`;
    if (!method.outputType.startsWith(".")) method.outputType = `.${method.outputType}`;
  }
  return equals(ServiceDescriptorProtoSchema, copy, known);
}

/** What to keep of a service. Its record is new only if it says something new. */
export function serviceState(
  namespace: string,
  chosen: ChosenService,
  nowMs: number,
  {
    current,
    hosting,
    origin = current === undefined ? "" : originOf(current.record),
  }: {
    readonly current: ServiceState | undefined;
    readonly hosting?: Hosting;
    /** The collector that it is taken over from; without it, as before. */
    readonly origin?: string;
  },
): ServiceState {
  const metadata = writtenAt(nowMs, nowMs, origin);
  const createdAt = current?.record.metadata?.createdAt;
  if (createdAt !== undefined) metadata.createdAt = createdAt;
  const record = toRegisteredService({
    namespace,
    name: chosen.fullName,
    descriptor: chosen.descriptor,
    fileName: chosen.file.name,
    fileVersion: chosen.file.version,
    builtIn: chosen.builtIn,
    metadata,
    hosting: hosting ?? hostingOf(current?.record, chosen.descriptor),
  });
  return { id: record.id, fileName: chosen.file.name, record };
}

/** Registered services whose record is of another version of their file than the one in force. */
export function outdatedServices(
  draft: NamespaceDraft,
  nowMs: number,
): (readonly [fullName: string, ServiceState])[] {
  const result: (readonly [string, ServiceState])[] = [];
  for (const [fullName, current] of draft.services) {
    const fileName = draft.fileOfType(fullName) ?? current.fileName;
    const file = draft.files.get(fileName)?.linked;
    const entry = file?.index.types.get(fullName);
    if (file === undefined || entry?.kind !== "service") continue;
    if (current.record.version === file.version && current.fileName === fileName) continue;
    const chosen = { fullName, descriptor: entry.proto, file, builtIn: false };
    result.push([fullName, serviceState(draft.namespace, chosen, nowMs, { current })]);
  }
  return result;
}

/** The record of a service, a built-in one too. */
export function lookUpService(
  snapshot: NamespaceSnapshot,
  state: NamespaceState,
  service: DescService,
): RegisteredService {
  const registered = state.services.get(service.typeName);
  const fileName = service.file.proto.name;
  const { endpoints, idempotentMethods: named } = hostingOf(registered?.record, service.proto);
  return toRegisteredService({
    namespace: snapshot.namespace,
    name: service.typeName,
    descriptor: service.proto,
    fileName,
    fileVersion: state.files.get(fileName)?.linked.version ?? builtInVersion,
    builtIn: registered === undefined,
    metadata: registered?.record.metadata,
    hosting: { endpoints, idempotentMethods: idempotentMethods(service.proto, named) },
  });
}

/** Services of one or more namespaces, by namespace and name. */
export function listServices(
  namespace: string,
  sources: readonly { readonly snapshot: NamespaceSnapshot; readonly state: NamespaceState }[],
  request: PageRequest,
  limits: PageLimits,
): ServicesPage {
  const all = sources.flatMap(({ snapshot, state }) =>
    [...snapshot.services.values()].map((service) => ({
      // No name has a space, so keys of two namespaces do not mix.
      key: `${snapshot.namespace} ${service.typeName}`,
      snapshot,
      state,
      service,
    })),
  );
  const keyOf = ({ key }: { readonly key: string }) => key;
  all.sort(byKey(keyOf));
  const page = pageOf(all, keyOf, request, ["ListServices", namespace], limits);
  return {
    services: page.items.map((item) => lookUpService(item.snapshot, item.state, item.service)),
    nextPageToken: page.nextPageToken,
  };
}

export function validateMethod(
  snapshot: NamespaceSnapshot,
  serviceName: string,
  methodName: string,
): MethodVerdict {
  try {
    const service = snapshot.service(serviceName);
    if (snapshot.method(service.typeName, methodName) !== undefined) {
      return { isValid: true, message: "" };
    }
    const known = service.methods.map((method) => method.name);
    const message = `service ${service.typeName} has no method ${quote(methodName)}${didYouMean(methodName, known)}`;
    return { isValid: false, message };
  } catch (error) {
    if (error instanceof CollectorError) return { isValid: false, message: error.message };
    throw error;
  }
}
