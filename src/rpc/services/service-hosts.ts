import type { ServiceHosts } from "../../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Executor } from "../../mesh/executor.ts";
import { listExecutors } from "../../mesh/executor-list.ts";
import type { AttachedWorkers } from "../../mesh/workers/attached-workers.ts";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { ServiceHandlers } from "../call.ts";

export interface ServiceHostsOptions {
  readonly workers: AttachedWorkers;
  /** What runs services of a namespace here, or through here. */
  readonly executorsOf: (namespace: string) => Iterable<Executor>;
  readonly types: TypeSource;
  readonly limits: Limits;
}

/** `collector.ServiceHosts` over the attached workers and everything else that runs services. */
export function serviceHosts({
  workers,
  executorsOf,
  types,
  limits,
}: ServiceHostsOptions): ServiceHandlers<typeof ServiceHosts> {
  return {
    attach: (requests, { namespace, peer, signal }) =>
      workers.attach(requests, { namespace, peer, signal }),

    async listExecutors(request) {
      return listExecutors(executorsOf(request.namespace), types, request, limits);
    },
  };
}
