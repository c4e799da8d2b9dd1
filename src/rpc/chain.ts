import type { DescMethod } from "@bufbuild/protobuf";
import type { TypeSource } from "../registry/type-snapshot.ts";
import type { Interceptor } from "./call.ts";
import { type AccessControl, authenticate, authorize } from "./interceptors/access.ts";
import { resolveHeaderNamespace, resolveNamespace } from "./interceptors/namespace.ts";
import { type CallLog, type CallRecorder, observeCalls } from "./interceptors/observe.ts";
import { traceCalls } from "./interceptors/trace.ts";
import { validateCalled, validateMethod } from "./interceptors/validate.ts";

export interface ChainOptions {
  readonly types: TypeSource;
  readonly defaultNamespace: string;
  readonly log: CallLog;
  readonly record: CallRecorder;
  readonly tracing: boolean;
  readonly access: AccessControl | undefined;
}

/** Services that a namespace cannot switch off: a client needs them to find its way. */
const infrastructure: ReadonlySet<string> = new Set([
  "grpc.health.v1",
  "grpc.reflection.v1",
  "grpc.reflection.v1alpha",
]);

/**
 * The interceptors of a method, outermost first: log, metrics and error mapping; trace;
 * authentication; namespace; registry validation; authorization. Deadlines and size limits lie
 * before it, in the transports, because they have to hold before a message is read.
 */
export function chainOf(options: ChainOptions): (method: DescMethod) => readonly Interceptor[] {
  const { types, defaultNamespace, access } = options;
  const observe = observeCalls(options.log, options.record);
  return (method) => {
    const chain: Interceptor[] = [observe];
    if (options.tracing) chain.push(traceCalls());
    if (access !== undefined) chain.push(authenticate(access));
    chain.push(resolveNamespace(method, defaultNamespace));
    if (!infrastructure.has(method.parent.file.proto.package)) {
      chain.push(validateMethod(method, types));
    }
    if (access !== undefined) chain.push(authorize(access));
    return chain;
  };
}

/** The interceptors of the methods that are registered at run time, in the same order. */
export function runTimeChain(options: ChainOptions): readonly Interceptor[] {
  const { types, defaultNamespace, access } = options;
  const chain: Interceptor[] = [observeCalls(options.log, options.record)];
  if (options.tracing) chain.push(traceCalls());
  if (access !== undefined) chain.push(authenticate(access));
  chain.push(resolveHeaderNamespace(defaultNamespace), validateCalled(types));
  if (access !== undefined) chain.push(authorize(access));
  return chain;
}
