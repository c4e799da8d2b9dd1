import type { Channel } from "../channel.ts";
import type { Executor, ExecutorSource } from "../executor.ts";
import type { Link } from "./link.ts";
import type { LinkTable } from "./link-table.ts";
import { keyOfLabels, type OfferedService, type RemoteService } from "./peer-offer.ts";

export interface PeerExecutorsOptions {
  readonly table: LinkTable;
  /** Of this collector. */
  readonly collectorId: string;
  /** Links that a call may travel. */
  readonly hopsMax: number;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}

/**
 * What linked collectors run, and what is reached through them, as executors of kind `peer`: for each
 * service of a shared namespace and each way to it one for each set of labels that the other end tells
 * apart. All of a link count their calls together, and they stay, not ready, while the link is down.
 */
export class PeerExecutors implements ExecutorSource {
  readonly #options: PeerExecutorsOptions;
  /** Made when it is asked for, and dropped when an offer changes. */
  #byNamespace: Map<string, Map<string, PeerExecutor[]>> | undefined;
  /** The same executor as long as nothing of it changes, so that breakers and counters can hang on it. */
  readonly #known = new Map<string, PeerExecutor>();

  constructor(options: PeerExecutorsOptions) {
    this.#options = options;
    options.table.subscribe(() => this.changed());
  }

  executorsOf(namespace: string, serviceName: string): readonly Executor[] {
    return this.#index().get(namespace)?.get(serviceName) ?? [];
  }

  /** Every executor, or every one of a namespace. */
  *all(namespace?: string): Iterable<Executor> {
    for (const [name, services] of this.#index()) {
      if (namespace !== undefined && name !== namespace) continue;
      for (const executors of services.values()) yield* executors;
    }
  }

  /** Whether a collector says that a method may be run again there. */
  isIdempotent(executor: Executor, methodName: string): boolean {
    const link = this.#options.table.byPeer(executor.neighborId ?? executor.collectorId);
    const { namespace, serviceName, way = [] } = executor;
    const behind = way.slice(1).join();
    const service =
      behind === ""
        ? link?.offer?.namespaces.get(namespace)?.get(serviceName)
        : link?.offer?.remoteServices
            .get(namespace)
            ?.find((remote) => remote.name === serviceName && remote.way.join() === behind);
    return service?.idempotentMethods.has(methodName) ?? false;
  }

  /** What others can reach through this collector: each service at each collector by the shortest way. */
  *remoteServicesOf(namespace: string): Iterable<RemoteService> {
    const best = new Map<string, RemoteService>();
    for (const link of this.#options.table.settled()) {
      if (!link.isReady || !link.connection.sharedNamespaces.includes(namespace)) continue;
      for (const service of this.#servicesOf(link, namespace)) {
        // With this collector before it, it has to be a way that a call may go.
        if (service.way.length >= this.#options.hopsMax) continue;
        const key = `${service.name} ${service.way.at(-1) ?? ""}`;
        const known = best.get(key);
        if (known === undefined || service.way.length < known.way.length) best.set(key, service);
      }
    }
    yield* best.values();
  }

  /** Offers, or the namespaces that are shared, have changed. */
  changed(): void {
    this.#byNamespace = undefined;
  }

  /** What is reached over a link; the way of each begins with the collector at its other end. */
  *#servicesOf(link: Link, namespace: string): Iterable<RemoteService> {
    const { offer, peerId } = link;
    for (const service of offer?.namespaces.get(namespace)?.values() ?? []) {
      yield { ...service, way: [peerId] };
    }
    for (const service of offer?.remoteServices.get(namespace) ?? []) {
      const way = [peerId, ...service.way];
      // One that comes back here, or goes in a circle, is no way.
      if (way.includes(this.#options.collectorId) || new Set(way).size < way.length) continue;
      yield { ...service, way };
    }
  }

  #index(): Map<string, Map<string, PeerExecutor[]>> {
    this.#byNamespace ??= this.#build();
    return this.#byNamespace;
  }

  #build(): Map<string, Map<string, PeerExecutor[]>> {
    const index = new Map<string, Map<string, PeerExecutor[]>>();
    const used = new Set<string>();
    for (const link of this.#options.table.settled()) {
      for (const namespace of link.connection.sharedNamespaces) {
        for (const service of this.#servicesOf(link, namespace)) {
          const services = index.get(namespace) ?? new Map<string, PeerExecutor[]>();
          index.set(namespace, services);
          const list = services.get(service.name) ?? [];
          services.set(service.name, list);
          list.push(...this.#executorsFor(link, namespace, service, used));
        }
      }
    }
    for (const key of this.#known.keys()) if (!used.has(key)) this.#known.delete(key);
    return index;
  }

  *#executorsFor(
    link: Link,
    namespace: string,
    service: OfferedService & Pick<RemoteService, "way">,
    used: Set<string>,
  ): Iterable<PeerExecutor> {
    const { name: serviceName, executors, way } = service;
    for (const labels of executors.length === 0 ? [{}] : executors) {
      const key = JSON.stringify([link.id, namespace, serviceName, way, keyOfLabels(labels)]);
      if (used.has(key)) continue;
      used.add(key);
      const known = this.#known.get(key);
      if (known?.isOf(link) === true) {
        yield known;
        continue;
      }
      const what = { namespace, serviceName, labels, way };
      const made = new PeerExecutor(link, what, this.#options.nowMs());
      this.#known.set(key, made);
      yield made;
    }
  }
}

interface ServiceOfPeer {
  readonly namespace: string;
  readonly serviceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly way: readonly string[];
}

/** A service at the other end of a link, or behind it. */
class PeerExecutor implements Executor {
  readonly kind = "peer";
  readonly namespace: string;
  readonly serviceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly way: readonly string[];
  readonly sinceMs: number;
  readonly #link: Link;

  constructor(link: Link, what: ServiceOfPeer, sinceMs: number) {
    this.#link = link;
    this.namespace = what.namespace;
    this.serviceName = what.serviceName;
    this.labels = what.labels;
    this.way = what.way;
    this.sinceMs = sinceMs;
  }

  get id(): string {
    return `peer-${this.way.join("/")}`;
  }

  get address(): string {
    return this.#link.offer?.address ?? "";
  }

  get collectorId(): string {
    return this.way.at(-1) ?? this.#link.peerId;
  }

  get neighborId(): string {
    return this.#link.peerId;
  }

  get ready(): boolean {
    return this.#link.isReady;
  }

  get problem(): string {
    return this.#link.problem;
  }

  get inFlight(): number {
    return this.#link.callsInFlight;
  }

  set inFlight(count: number) {
    this.#link.callsInFlight = count;
  }

  get channel(): Channel {
    return this.#link.channel;
  }

  isOf(link: Link): boolean {
    return this.#link === link;
  }
}
