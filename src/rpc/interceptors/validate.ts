import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import { didYouMean } from "../../lib/suggest.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { Interceptor } from "../call.ts";

/** Longest name of a caller that a message repeats. */
const nameCharsMax = 120;

/**
 * Refuses a call whose method is not registered in its namespace. The registry's snapshot is in
 * memory: this costs two map lookups.
 */
export function validateMethod(method: DescMethod, types: TypeSource): Interceptor {
  const serviceName = method.parent.typeName;
  const methodName = method.name;
  return (next) => (input, call) => {
    findRegistered(types, call.namespace, serviceName, methodName);
    return next(input, call);
  };
}

/** The same for methods that are not known before their calls. */
export function validateCalled(types: TypeSource): Interceptor {
  return (next) => (input, call) => {
    findRegistered(types, call.namespace, call.serviceName, call.methodName);
    return next(input, call);
  };
}

/** @throws {CollectorError} METHOD_NOT_REGISTERED, saying what there is instead */
export function findRegistered(
  types: TypeSource,
  namespace: string,
  serviceName: string,
  methodName: string,
): DescMethod {
  const snapshot = types.snapshot(namespace);
  const found = snapshot.method(serviceName, methodName);
  if (found !== undefined) return found;
  const [service, method] = [cut(serviceName), cut(methodName)];
  const siblings = snapshot.types.getService(serviceName)?.methods.map(({ name }) => name);
  const hint =
    siblings === undefined
      ? "; register the service with RegisterService, or name its namespace in x-collector-namespace"
      : didYouMean(methodName, siblings);
  throw new CollectorError(
    "METHOD_NOT_REGISTERED",
    `${service}/${method} is not registered in namespace \`${namespace}\`${hint}`,
    { subject: { namespace, service, method } },
  );
}

function cut(name: string): string {
  return name.length <= nameCharsMax ? name : `${name.slice(0, nameCharsMax - 1)}…`;
}
