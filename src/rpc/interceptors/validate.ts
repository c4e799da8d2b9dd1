import type { DescMethod } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { Interceptor } from "../call.ts";

/**
 * Refuses a call whose method is not registered in its namespace. The registry's snapshot is in
 * memory: this costs two map lookups.
 */
export function validateMethod(method: DescMethod, types: TypeSource): Interceptor {
  const serviceName = method.parent.typeName;
  const methodName = method.name;
  return (next) => (input, call) => {
    if (types.snapshot(call.namespace).method(serviceName, methodName) === undefined) {
      throw new CollectorError(
        "METHOD_NOT_REGISTERED",
        `${serviceName}/${methodName} is not registered in namespace \`${call.namespace}\``,
        { subject: { namespace: call.namespace, service: serviceName, method: methodName } },
      );
    }
    return next(input, call);
  };
}
