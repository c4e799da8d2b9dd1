import type { ServiceEndpoint } from "../gen/collector/service_hosts_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type { Log } from "../lib/log.ts";
import type { Registry } from "../registry/registry.ts";
import type { Dialer } from "./channel.ts";
import { EndpointExecutor } from "./endpoint-executor.ts";
import type { LocalExecutors } from "./executor.ts";

export interface EndpointsOptions {
  readonly dialer: Dialer;
  readonly executors: LocalExecutors;
  readonly registry: Pick<Registry, "moment" | "registeredServices">;
  readonly collectorId: string;
  readonly limits: Pick<Limits, "endpointCheckMs">;
  readonly log: Log;
}

interface Entry {
  readonly executor: EndpointExecutor;
  readonly added: Disposable;
}

/** Makes the endpoints of registered services executors, and follows their registrations. */
export class Endpoints implements AsyncDisposable {
  readonly #options: EndpointsOptions;
  /** By namespace, then by service, address and labels. */
  readonly #byNamespace = new Map<string, Map<string, Entry>>();
  readonly #closing = new Set<Promise<void>>();

  constructor(options: EndpointsOptions) {
    this.#options = options;
    for (const { namespace } of options.registry.moment("")) this.follow(namespace.name);
  }

  /** Takes over what is registered in a namespace now. Those that stay keep their connections. */
  follow(namespace: string): void {
    const before = this.#byNamespace.get(namespace) ?? new Map<string, Entry>();
    const after = new Map<string, Entry>();
    const registered = this.#options.registry.registeredServices(namespace);
    for (const [serviceName, { record }] of registered) {
      for (const endpoint of record.endpoints) {
        const key = keyOf(serviceName, endpoint);
        const entry = before.get(key) ?? this.#open(namespace, serviceName, endpoint);
        if (entry !== undefined) after.set(key, entry);
      }
    }
    if (after.size > 0) this.#byNamespace.set(namespace, after);
    else this.#byNamespace.delete(namespace);
    for (const [key, entry] of before) {
      if (!after.has(key)) this.#close(entry);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const entries = [...this.#byNamespace.values()].flatMap((byKey) => [...byKey.values()]);
    this.#byNamespace.clear();
    for (const entry of entries) this.#close(entry);
    await Promise.all(this.#closing);
  }

  #open(namespace: string, serviceName: string, endpoint: ServiceEndpoint): Entry | undefined {
    const { dialer, executors, collectorId, limits, log } = this.#options;
    try {
      const executor = new EndpointExecutor({
        endpoint,
        namespace,
        serviceName,
        collectorId,
        channel: dialer.dial(endpoint.address, "endpoints"),
        sinceMs: Date.now(),
        checkMs: limits.endpointCheckMs,
      });
      return { executor, added: executors.add(executor) };
    } catch (error) {
      // The list of peers has changed since the service was registered.
      const fields = { err: error, namespace, service: serviceName, endpoint: endpoint.address };
      log.warn(fields, "an endpoint may not be dialled any more");
      return undefined;
    }
  }

  #close({ executor, added }: Entry): void {
    added[Symbol.dispose]();
    const { log } = this.#options;
    const closed = executor[Symbol.asyncDispose]().catch((error: unknown) => {
      log.warn({ err: error, endpoint: executor.address }, "an endpoint was not closed cleanly");
    });
    this.#closing.add(closed);
    void closed.finally(() => this.#closing.delete(closed));
  }
}

function keyOf(serviceName: string, { address, labels }: ServiceEndpoint): string {
  const sorted = Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([serviceName, address, sorted]);
}
