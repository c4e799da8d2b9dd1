import { checkLabels } from "../../collections/names.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { AttachRequest, AttachRequest_Hello } from "../../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { isReservedPackage } from "../../registry/built-ins.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";

/** Calls of a worker at a time that says nothing of it. */
const callsDefault = 100;

/** What a worker says of itself, checked. */
export interface WorkerHello {
  /** Full names of the services that it runs; all of them are registered. */
  readonly services: readonly string[];
  /** Empty if the server shall make one. */
  readonly workerId: string;
  readonly callsMax: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** The first step of a worker. @throws {CollectorError} ARGUMENT_MISSING if it is something else */
export function helloOf(step: AttachRequest["step"] | undefined): AttachRequest_Hello {
  if (step?.case === "hello") return step.value;
  throw invalidField("ARGUMENT_MISSING", "hello", "is missing: a worker says first who it is");
}

/**
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, NAME_INVALID, LABEL_INVALID; SERVICE_NOT_FOUND
 * for a service that is not registered in the namespace
 */
export function readHello(
  hello: AttachRequest_Hello,
  types: TypeSource,
  namespace: string,
  limits: Limits,
): WorkerHello {
  const { workerId, labels, callsMax } = hello;
  if (workerId !== "" && !/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/.test(workerId)) {
    throw invalidField(
      "NAME_INVALID",
      "hello.worker_id",
      "has 1–128 characters of A-Z a-z 0-9 . _ -, the first a letter or digit",
    );
  }
  if (callsMax < 0) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "hello.calls_max",
      `is ${callsMax}; send 1 to ${limits.workerCallsMax}, or 0 for ${callsDefault}`,
    );
  }
  checkLabels(labels, limits, "hello.labels");
  return {
    services: readServices(hello.services, types, namespace, limits),
    workerId,
    callsMax: Math.min(callsMax === 0 ? callsDefault : callsMax, limits.workerCallsMax),
    labels: { ...labels },
  };
}

function readServices(
  names: readonly string[],
  types: TypeSource,
  namespace: string,
  { workerServicesMax }: Limits,
): string[] {
  const field = "hello.services";
  if (names.length === 0) {
    throw invalidField("ARGUMENT_MISSING", field, "is empty; name the services that you run");
  }
  if (names.length > workerServicesMax) {
    const text = `has ${names.length} services, the limit is ${workerServicesMax} (workerServicesMax)`;
    throw invalidField("ARGUMENT_INVALID", field, text);
  }
  const snapshot = types.snapshot(namespace);
  const found = names.map((name, index) => {
    const service = snapshot.service(name);
    if (!isReservedPackage(service.file.proto.package)) return service.typeName;
    const text = `${service.typeName} is the collector's own, and run by nobody else`;
    throw invalidField("ARGUMENT_INVALID", `${field}[${index}]`, text);
  });
  return [...new Set(found)];
}

/** A stream that goes against its rules. */
export function attachFault(problem: string): CollectorError {
  return new CollectorError("ARGUMENT_INVALID", problem);
}
