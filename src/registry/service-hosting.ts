import { create, type DescMethod } from "@bufbuild/protobuf";
import {
  MethodOptions_IdempotencyLevel,
  type ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import { checkLabels, type LabelLimits } from "../collections/names.ts";
import { invalidField } from "../errors.ts";
import type { RegisteredService } from "../gen/collector/registry_pb.ts";
import { type ServiceEndpoint, ServiceEndpointSchema } from "../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { didYouMean } from "../lib/suggest.ts";
import { quote } from "./names.ts";

/** What a registration asks for about who runs the service, and how. */
export interface HostingRequest {
  /** Instead of those registered before, or beside them; empty for as before. */
  readonly endpoints: readonly ServiceEndpoint[];
  readonly clearEndpoints: boolean;
  readonly addEndpoints: boolean;
  /** Addresses. */
  readonly removeEndpoints: readonly string[];
  /** Empty for as before. */
  readonly idempotentMethods: readonly string[];
}

/** What is kept of it. */
export interface Hosting {
  readonly endpoints: readonly ServiceEndpoint[];
  /** Those that were registered as such, not those whose option says so. */
  readonly idempotentMethods: readonly string[];
}

export interface HostingChecks {
  readonly limits: Pick<Limits, "endpointsPerServiceMax"> & LabelLimits;
  /**
   * Refuses what may not be dialled.
   *
   * @throws {CollectorError} PEER_DENIED
   */
  readonly checkEndpoint: (address: string, field: string) => void;
}

/** The service that a registration is about. */
export interface HostedService {
  readonly fullName: string;
  readonly descriptor: ServiceDescriptorProto;
  readonly builtIn: boolean;
}

/** Of a registration that says nothing of who runs the service. */
export const asBefore: HostingRequest = {
  endpoints: [],
  clearEndpoints: false,
  addEndpoints: false,
  removeEndpoints: [],
  idempotentMethods: [],
};

/**
 * What is kept of a registration: what it asks for, else what was kept before.
 *
 * @throws {CollectorError} ARGUMENT_INVALID, ARGUMENT_MISSING, LABEL_INVALID, PEER_DENIED
 */
export function settleHosting(
  request: HostingRequest = asBefore,
  service: HostedService,
  current: RegisteredService | undefined,
  checks: HostingChecks,
): Hosting {
  const { idempotentMethods } = request;
  if (service.builtIn) refuseBuiltIn(request, service);
  checkMethods(idempotentMethods, service);
  const before = hostingOf(current, service.descriptor);
  return {
    endpoints: settleEndpoints(request, before.endpoints, service, checks),
    idempotentMethods:
      idempotentMethods.length === 0 ? before.idempotentMethods : [...new Set(idempotentMethods)],
  };
}

function settleEndpoints(
  { endpoints, clearEndpoints, addEndpoints, removeEndpoints }: HostingRequest,
  before: readonly ServiceEndpoint[],
  { fullName }: HostedService,
  checks: HostingChecks,
): readonly ServiceEndpoint[] {
  if (clearEndpoints && endpoints.length > 0) {
    const problem = "does not go with endpoints, which are instead of those registered before";
    throw invalidField("ARGUMENT_INVALID", "clear_endpoints", problem);
  }
  if (removeEndpoints.length > 0 && (clearEndpoints || (endpoints.length > 0 && !addEndpoints))) {
    const problem = "does not go with clear_endpoints, nor with endpoints without add_endpoints";
    throw invalidField("ARGUMENT_INVALID", "remove_endpoints", problem);
  }
  const known = before.map(({ address }) => address);
  for (const [index, address] of removeEndpoints.entries()) {
    if (known.includes(address)) continue;
    const has = known.length === 0 ? "none" : known.join(", ");
    const problem = `${fullName} has no endpoint ${quote(address)}; it has ${has}`;
    throw invalidField("ARGUMENT_INVALID", `remove_endpoints[${index}]`, problem);
  }
  checkEndpoints(endpoints, checks);
  if (clearEndpoints) return [];
  if (endpoints.length > 0 && !addEndpoints) return endpoints.map(copyEndpoint);
  const gone = new Set([...removeEndpoints, ...endpoints.map(({ address }) => address)]);
  const kept = before.filter(({ address }) => !gone.has(address));
  refuseTooMany(kept.length + endpoints.length, checks);
  return [...kept, ...endpoints.map(copyEndpoint)];
}

/** What is kept of a registered service, when its file is perhaps another version. */
export function hostingOf(
  current: RegisteredService | undefined,
  descriptor: ServiceDescriptorProto,
): Hosting {
  if (current === undefined) return { endpoints: [], idempotentMethods: [] };
  const names = new Set(descriptor.method.map(({ name }) => name));
  return {
    endpoints: current.endpoints,
    idempotentMethods: current.idempotentMethods.filter((name) => names.has(name)),
  };
}

/** Methods that may be run again: those that were registered as such, and those whose option says so. */
export function idempotentMethods(
  descriptor: ServiceDescriptorProto,
  registered: readonly string[],
): string[] {
  return descriptor.method
    .filter(({ name, options }) => {
      const level = options?.idempotencyLevel ?? MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
      return (
        registered.includes(name) || level !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN
      );
    })
    .map(({ name }) => name);
}

/** Whether a method may be run again if it is not known whether it ran. */
export function isIdempotent(
  method: DescMethod,
  registered: RegisteredService | undefined,
): boolean {
  const isDeclared = method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
  return isDeclared || registered?.idempotentMethods.includes(method.name) === true;
}

function refuseBuiltIn(request: HostingRequest, { fullName }: HostedService): void {
  const field =
    request.endpoints.length > 0
      ? "endpoints"
      : request.idempotentMethods.length > 0
        ? "idempotent_methods"
        : undefined;
  if (field === undefined) return;
  throw invalidField("ARGUMENT_INVALID", field, `${fullName} is built in and runs here`);
}

function checkEndpoints(endpoints: readonly ServiceEndpoint[], checks: HostingChecks): void {
  const { limits, checkEndpoint } = checks;
  refuseTooMany(endpoints.length, checks);
  const seen = new Set<string>();
  for (const [index, { address, labels }] of endpoints.entries()) {
    const field = `endpoints[${index}].address`;
    if (address === "") {
      throw invalidField("ARGUMENT_MISSING", field, "names no server; send its host:port");
    }
    if (seen.has(address)) {
      throw invalidField("ARGUMENT_INVALID", field, `${quote(address)} is there twice`);
    }
    seen.add(address);
    checkEndpoint(address, field);
    checkLabels(labels, limits, `endpoints[${index}].labels`);
  }
}

function refuseTooMany(count: number, { limits }: HostingChecks): void {
  const { endpointsPerServiceMax } = limits;
  if (count <= endpointsPerServiceMax) return;
  const problem = `are ${count}, the limit is ${endpointsPerServiceMax} (endpointsPerServiceMax)`;
  throw invalidField("ARGUMENT_INVALID", "endpoints", problem);
}

function checkMethods(names: readonly string[], { fullName, descriptor }: HostedService): void {
  const known = descriptor.method.map(({ name }) => name);
  for (const [index, name] of names.entries()) {
    if (known.includes(name)) continue;
    throw invalidField(
      "ARGUMENT_INVALID",
      `idempotent_methods[${index}]`,
      `${fullName} has no method ${quote(name)}${didYouMean(name, known)}`,
    );
  }
}

function copyEndpoint({ address, labels }: ServiceEndpoint): ServiceEndpoint {
  return create(ServiceEndpointSchema, { address, labels: { ...labels } });
}
