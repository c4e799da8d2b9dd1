import type { Channel } from "../channel.ts";
import type { Executor, ExecutorSource } from "../executor.ts";
import type { Link } from "./link.ts";
import type { LinkTable } from "./link-table.ts";
import { keyOfLabels } from "./peer-offer.ts";

/**
 * What linked collectors run, as executors of kind `peer`: for each service of a shared namespace one
 * for each set of labels that the other end tells apart. All of a link count their calls together, and
 * they stay, not ready, while the link is down.
 */
export class PeerExecutors implements ExecutorSource {
  readonly #table: LinkTable;
  readonly #nowMs: () => number;
  /** Made when it is asked for, and dropped when an offer changes. */
  #byNamespace: Map<string, Map<string, PeerExecutor[]>> | undefined;
  /** The same executor as long as nothing of it changes, so that breakers and counters can hang on it. */
  readonly #known = new Map<string, PeerExecutor>();

  /** @param nowMs milliseconds since 1970 */
  constructor(table: LinkTable, nowMs: () => number) {
    this.#table = table;
    this.#nowMs = nowMs;
    table.subscribe(() => this.changed());
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
    const services = this.#table
      .byPeer(executor.collectorId)
      ?.offer?.namespaces.get(executor.namespace);
    return services?.get(executor.serviceName)?.idempotentMethods.has(methodName) ?? false;
  }

  /** Offers, or the namespaces that are shared, have changed. */
  changed(): void {
    this.#byNamespace = undefined;
  }

  #index(): Map<string, Map<string, PeerExecutor[]>> {
    this.#byNamespace ??= this.#build();
    return this.#byNamespace;
  }

  #build(): Map<string, Map<string, PeerExecutor[]>> {
    const index = new Map<string, Map<string, PeerExecutor[]>>();
    const used = new Set<string>();
    for (const link of this.#table.settled()) {
      for (const namespace of link.connection.sharedNamespaces) {
        for (const { name, executors } of link.offer?.namespaces.get(namespace)?.values() ?? []) {
          const services = index.get(namespace) ?? new Map<string, PeerExecutor[]>();
          index.set(namespace, services);
          const list = services.get(name) ?? [];
          services.set(name, list);
          for (const labels of executors.length === 0 ? [{}] : executors) {
            const key = JSON.stringify([link.id, namespace, name, keyOfLabels(labels)]);
            if (used.has(key)) continue;
            used.add(key);
            list.push(this.#executor(key, link, { namespace, serviceName: name, labels }));
          }
        }
      }
    }
    for (const key of this.#known.keys()) if (!used.has(key)) this.#known.delete(key);
    return index;
  }

  #executor(key: string, link: Link, what: ServiceOfPeer): PeerExecutor {
    const known = this.#known.get(key);
    if (known?.isOf(link) === true) return known;
    const made = new PeerExecutor(link, what, this.#nowMs());
    this.#known.set(key, made);
    return made;
  }
}

interface ServiceOfPeer {
  readonly namespace: string;
  readonly serviceName: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** A service at the other end of a link. */
class PeerExecutor implements Executor {
  readonly kind = "peer";
  readonly namespace: string;
  readonly serviceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly sinceMs: number;
  readonly #link: Link;

  constructor(link: Link, { namespace, serviceName, labels }: ServiceOfPeer, sinceMs: number) {
    this.#link = link;
    this.namespace = namespace;
    this.serviceName = serviceName;
    this.labels = labels;
    this.sinceMs = sinceMs;
  }

  get id(): string {
    return `peer-${this.#link.peerId}`;
  }

  get address(): string {
    return this.#link.offer?.address ?? "";
  }

  get collectorId(): string {
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
