import type { Registry } from "../../registry/registry.ts";
import { isIdempotent } from "../../registry/service-hosting.ts";
import type { Executor } from "../executor.ts";
import type { PeerExecutors } from "../links/peer-executors.ts";

/** Whether a method may be run again if it is not known whether an executor has run it. */
export type IsRepeatable = (executor: Executor, methodName: string) => boolean;

/** A method is repeatable if its service says so here, or at the collector that runs it. */
export function repeatableBy(
  registry: Pick<Registry, "snapshot" | "registeredServices">,
  peers: Pick<PeerExecutors, "isIdempotent">,
): IsRepeatable {
  return (executor, methodName) => {
    const { namespace, serviceName } = executor;
    const method = registry.snapshot(namespace).method(serviceName, methodName);
    const registered = registry.registeredServices(namespace).get(serviceName)?.record;
    if (method !== undefined && isIdempotent(method, registered)) return true;
    return executor.kind === "peer" && peers.isIdempotent(executor, methodName);
  };
}
