import { CollectorError } from "../../errors.ts";
import type { MethodAnswer, MethodCall } from "../../mesh/dispatch/typed-method.ts";
import type { Call, Routes } from "../call.ts";
import { decodeOwned } from "../encoding/message-decoder.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { DerivedCall } from "./derived-call.ts";
import { bytesOf, isStream, toRaw } from "./raw-message.ts";

/** Runs methods of this server on behalf of a call: built-in ones, and those of registered services. May throw at once. */
export type MethodCaller = (
  method: MethodCall,
  caller: Call,
  options?: { readonly dropsMetadata?: boolean },
) => Promise<MethodAnswer>;

export interface MethodCallerOptions {
  /** Asked when a call comes, as it is made after this. */
  readonly routes: () => Routes;
  /** Of this collector, which is also named as what runs built-in methods. */
  readonly collectorId: string;
}

/** What runs passes the same interceptors as a call from outside, with the caller's rights. */
export function createMethodCaller({ routes, collectorId }: MethodCallerOptions): MethodCaller {
  // Whoever is asked to run a method here does not ask others.
  const wish = { target: collectorId };
  return ({ namespace, desc, input, context }, caller, { dropsMetadata } = {}) => {
    const serviceName = desc.parent.typeName;
    const methodName = desc.name;
    const call = new DerivedCall(caller, {
      serviceName,
      methodName,
      namespace,
      metadata: context,
      wish,
      dropsMetadata,
    });
    const builtIn = routes().find(serviceName, methodName);
    if (builtIn !== undefined) {
      const { invoke, desc: own } = builtIn;
      return invoke(decodeOwned(own.input, input), call).then((answer) => {
        if (isStream(answer)) throw new TypeError(`${methodName} streams`);
        caller.executorId = collectorId;
        return { output: encodeMessage(own.output, answer, 0), executorId: collectorId };
      });
    }
    const raw = routes().runTime?.raw(serviceName, methodName, namespace);
    if (raw === undefined) {
      const name = `${serviceName}/${methodName}`;
      throw new CollectorError("METHOD_UNIMPLEMENTED", `this server has no method ${name}`);
    }
    return raw.invoke(toRaw(input), call).then((answer) => {
      if (isStream(answer)) throw new TypeError(`${methodName} streams`);
      const { executorId = "" } = call;
      caller.executorId = executorId;
      return { output: bytesOf(answer), executorId };
    });
  };
}
