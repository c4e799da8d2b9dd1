import { CollectorError } from "../../errors.ts";
import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import type { RegistrationConflict } from "../../gen/collector/sharing_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import type { Scheduler } from "../../lib/scheduler.ts";
import type { RegistryExchange } from "../../registry/exchange.ts";
import { systemNamespace } from "../../registry/names.ts";
import { CallFailure, type Channel } from "../channel.ts";
import { Conflicts, sharingReasons } from "./conflicts.ts";
import { PeerRegistrations } from "./peer-registrations.ts";
import { pull } from "./pull.ts";
import { writeConflict } from "./wire.ts";

/** How long changes are gathered before they are compared. */
const gatherMs = 50;

/** After so long what could not be taken over is tried again: what is in the way may be gone. */
const retryMs = 5000;

/** Comparisons one after the other, without a pause, as long as something changes meanwhile. */
const roundsMax = 5;

/** A link as far as sharing goes. */
export interface SharingLink {
  readonly id: string;
  readonly peerId: string;
  readonly connection: Connection;
  /** Whether calls can travel. */
  readonly isUp: boolean;
  readonly channel: Channel;
  /** Digests of the namespaces whose registrations the other end shares. */
  readonly sharedByPeer: ReadonlyMap<string, string>;
}

export interface RegistrationSharingOptions {
  readonly exchange: RegistryExchange;
  readonly collectorId: string;
  /** Namespaces whose registrations are shared over every link. */
  readonly namespaces: readonly string[];
  /** Links that there are. */
  readonly links: () => readonly SharingLink[];
  readonly limits: Pick<Limits, "descriptorBytesMax">;
  readonly scheduler: Scheduler;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  readonly log: Log;
}

/** What is told of a link in lists. */
export interface SharingView {
  /** Namespaces whose registrations both ends share, by name. */
  readonly sharedRegistrations: string[];
  readonly registrationConflicts: RegistrationConflict[];
  readonly registrationConflictCount: bigint;
}

/** What was compared last, by digests. */
interface Compared {
  readonly ours: string;
  readonly theirs: string;
}

/** The comparisons over one link, one at a time. */
interface Follower {
  readonly compared: Map<string, Compared>;
  /** Runs, or waits to. */
  work: Promise<void> | undefined;
  /** Whether to look again when it is done. */
  isDue: boolean;
  retry: Disposable | undefined;
}

/**
 * Keeps registrations the same at both ends of links, in namespaces where both ends want that. Each end takes
 * over what is later at the other one; nobody is sent anything.
 */
export class RegistrationSharing implements AsyncDisposable {
  readonly #options: RegistrationSharingOptions;
  readonly #conflicts: Conflicts;
  readonly #followers = new Map<string, Follower>();
  readonly #stopping = new AbortController();
  #taken = 0;

  constructor(options: RegistrationSharingOptions) {
    this.#options = options;
    this.#conflicts = new Conflicts(options);
  }

  /** Files, services and removals that were taken over since the start. */
  get takenCount(): number {
    return this.#taken;
  }

  /** Namespaces whose registrations this end shares over a link, with a digest of each. */
  *offeredOver(connection: Connection): Iterable<readonly [namespace: string, digest: string]> {
    for (const namespace of this.#wanted(connection)) {
      yield [namespace, this.#options.exchange.digest(namespace)];
    }
  }

  /** Whether this end shares registrations of a namespace over a link. */
  isOffered(connection: Connection, namespace: string): boolean {
    return this.#wanted(connection).has(namespace);
  }

  /** Whether registrations of a namespace are shared over any link. */
  isShared(namespace: string): boolean {
    const { links, namespaces } = this.#options;
    if (namespace === systemNamespace) return false;
    return (
      namespaces.includes(namespace) ||
      links().some(({ connection }) => connection.sharesRegistrations.includes(namespace))
    );
  }

  /** The other end of a link, or this one, may have registered something, or share something else. */
  follow(link: SharingLink): void {
    if (this.#stopping.signal.aborted || !link.isUp) return;
    const follower = this.#followerOf(link);
    if (follower.work !== undefined) {
      follower.isDue = true;
      return;
    }
    // Nothing is compared at once: a digest costs in the order of what is registered.
    follower.work = this.#run(link, follower).finally(() => {
      follower.work = undefined;
      if (follower.isDue) {
        follower.isDue = false;
        this.follow(link);
      }
    });
  }

  /** What is registered here has changed. */
  changed(namespace: string): void {
    if (!this.isShared(namespace)) return;
    for (const link of this.#options.links()) this.follow(link);
  }

  /** Links have come or gone. */
  linksChanged(): void {
    const ids = new Set(this.#options.links().map(({ id }) => id));
    for (const [id, { retry }] of this.#followers) {
      if (ids.has(id)) continue;
      retry?.[Symbol.dispose]();
      this.#followers.delete(id);
      this.#conflicts.drop(id);
    }
  }

  /** What of a link lists show. */
  viewOf(link: SharingLink): SharingView {
    const { conflicts, count } = this.#conflicts.of(link.id);
    return {
      sharedRegistrations: this.#sharedOver(link),
      registrationConflicts: conflicts.map(writeConflict),
      registrationConflictCount: BigInt(count),
    };
  }

  conflictCount(linkId: string): number {
    return this.#conflicts.of(linkId).count;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort(new CollectorError("SHUTTING_DOWN", "this server is shutting down"));
    for (const { retry } of this.#followers.values()) retry?.[Symbol.dispose]();
    await Promise.all([...this.#followers.values()].flatMap(({ work }) => work ?? []));
  }

  #wanted({ sharesRegistrations, offeredNamespaces }: Connection): Set<string> {
    const isOffered = (name: string) =>
      name !== systemNamespace &&
      (offeredNamespaces.length === 0 || offeredNamespaces.includes(name));
    return new Set([...this.#options.namespaces, ...sharesRegistrations].filter(isOffered));
  }

  #sharedOver({ connection, sharedByPeer }: SharingLink): string[] {
    return [...this.#wanted(connection)].filter((name) => sharedByPeer.has(name)).sort();
  }

  #followerOf({ id }: SharingLink): Follower {
    const known = this.#followers.get(id);
    if (known !== undefined) return known;
    const made = { compared: new Map(), work: undefined, isDue: false, retry: undefined };
    this.#followers.set(id, made);
    return made;
  }

  /**
   * Where one end does not share any more, there is nothing to agree on. A link that comes back begins so: what
   * failed when it went down is compared anew, though nothing has changed since.
   */
  #dropUnshared(link: SharingLink, { compared }: Follower): void {
    const shared = this.#sharedOver(link);
    for (const namespace of compared.keys()) {
      if (!shared.includes(namespace)) compared.delete(namespace);
    }
    for (const namespace of this.#conflicts.namespacesOf(link.id)) {
      if (!shared.includes(namespace)) this.#conflicts.replace(link, namespace, []);
    }
  }

  /** Namespaces that have to be compared: they are not the same, or something there was in conflict. */
  #due(link: SharingLink, { compared }: Follower): string[] {
    const inConflict = this.#conflicts.namespacesOf(link.id);
    return this.#sharedOver(link).filter((namespace) => {
      const now = this.#digests(link, namespace);
      const last = compared.get(namespace);
      if (last?.ours === now.ours && last.theirs === now.theirs) return false;
      return now.ours !== now.theirs || inConflict.includes(namespace);
    });
  }

  #digests(link: SharingLink, namespace: string): Compared {
    const theirs = link.sharedByPeer.get(namespace) ?? "";
    return { ours: this.#options.exchange.digest(namespace), theirs };
  }

  async #run(link: SharingLink, follower: Follower): Promise<void> {
    await this.#pause(gatherMs);
    if (this.#stopping.signal.aborted) return;
    this.#dropUnshared(link, follower);
    for (let round = 0; round < roundsMax; round += 1) {
      follower.isDue = false;
      const due = this.#due(link, follower);
      if (due.length === 0) break;
      for (const namespace of due) {
        if (this.#stopping.signal.aborted || !link.isUp) return;
        await this.#compare(link, follower, namespace);
      }
    }
    this.#planRetry(link, follower);
  }

  async #compare(link: SharingLink, follower: Follower, namespace: string): Promise<void> {
    const { exchange, collectorId, limits, log } = this.#options;
    const { peerId, channel } = link;
    const { theirs } = this.#digests(link, namespace);
    const peer = new PeerRegistrations({
      channel,
      peerId,
      collectorId,
      descriptorBytesMax: limits.descriptorBytesMax,
      signal: this.#stopping.signal,
    });
    try {
      const result = await pull({ exchange, peer, peerId, namespace });
      this.#taken += result.taken;
      this.#conflicts.replace(link, namespace, result.conflicts);
      if (result.taken > 0) {
        const fields = { connectionId: link.id, collectorId: peerId, namespace };
        log.info({ ...fields, taken: result.taken }, "registrations were taken over");
      }
      if (result.isOutdated) follower.compared.delete(namespace);
      else follower.compared.set(namespace, { ours: exchange.digest(namespace), theirs });
    } catch (error) {
      if (this.#stopping.signal.aborted || !link.isUp) return;
      const isExpected = error instanceof CallFailure || error instanceof CollectorError;
      const message = error instanceof Error ? error.message : String(error);
      if (!isExpected) log.error({ err: error, namespace }, "registrations could not be compared");
      const text = isExpected ? message : "an internal error; see the log";
      const about = { namespace, kind: undefined, name: "", version: 0n, peerVersion: 0n };
      const conflict = { ...about, reason: sharingReasons.failed, message: text };
      this.#conflicts.replace(link, namespace, [conflict]);
      follower.compared.set(namespace, this.#digests(link, namespace));
    }
  }

  #planRetry(link: SharingLink, follower: Follower): void {
    if (follower.retry !== undefined || this.#conflicts.namespacesOf(link.id).length === 0) return;
    follower.retry = this.#options.scheduler.after(retryMs, () => {
      follower.retry = undefined;
      for (const namespace of this.#conflicts.namespacesOf(link.id)) {
        follower.compared.delete(namespace);
      }
      this.follow(link);
    });
  }

  /** Ends at once when the server stops: its timers keep no process alive that waits for them. */
  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const { signal } = this.#stopping;
    const stop = (): void => resolve();
    signal.addEventListener("abort", stop);
    using _timer = this.#options.scheduler.after(ms, resolve);
    await promise;
    signal.removeEventListener("abort", stop);
  }
}
