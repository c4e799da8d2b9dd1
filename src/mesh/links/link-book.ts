import { create } from "@bufbuild/protobuf";
import { KeyedLock } from "../../collections/keyed-lock.ts";
import { CollectorError } from "../../errors.ts";
import { type Connection, ConnectionSchema } from "../../gen/collector/dispatcher_pb.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Log } from "../../lib/log.ts";
import { Link, type LinkListener } from "./link.ts";
import type { LinkRecords } from "./link-records.ts";
import { LinkTable } from "./link-table.ts";
import { timestampOfUs } from "./timestamps.ts";

/** Removed links whose other end is still to be told; of more, the oldest are forgotten. */
const partingsMax = 256;

/** How long the other end of a removed link is waited for. */
const partingUsMax = 30n * 24n * 3600n * 1_000_000n;

export interface LinkBookOptions {
  readonly collectorId: string;
  readonly records: LinkRecords;
  readonly clock: Clock;
  readonly log: Log;
  readonly listener: LinkListener;
  /** Most links. */
  readonly linksMax: number;
}

/** The links that there are, and those that were removed and whose other end does not know: in memory and on disk. */
export class LinkBook {
  readonly table: LinkTable = new LinkTable();
  readonly collectorId: string;
  readonly #options: LinkBookOptions;
  readonly #lock = new KeyedLock();
  readonly #partings = new Map<string, Connection>();

  constructor(options: LinkBookOptions) {
    this.#options = options;
    this.collectorId = options.collectorId;
  }

  /** Reads what was kept. */
  async load(): Promise<void> {
    const { records, clock, log } = this.#options;
    const outdated: string[] = [];
    for (const connection of await records.all()) {
      const peerId = this.peerOf(connection);
      const removedUs = (connection.removedAt?.seconds ?? 0n) * 1_000_000n;
      if (connection.removedAt === undefined && this.table.byPeer(peerId) === undefined) {
        this.table.add(this.#newLink(connection, peerId, true));
      } else if (removedUs > clock.nowUs() - partingUsMax) {
        this.#partings.set(connection.id, connection);
      } else {
        outdated.push(connection.id);
      }
    }
    if (outdated.length === 0) return;
    log.info(
      { links: outdated },
      "removed links were forgotten: their other ends did not come back",
    );
    await records.delete(...outdated);
  }

  /** The collector at the other end. */
  peerOf({ sourceCollectorId, targetCollectorId }: Connection): string {
    return sourceCollectorId === this.collectorId ? targetCollectorId : sourceCollectorId;
  }

  /** Runs one piece of work at a time about the link to a collector. */
  exclusively<T>(peerId: string, work: () => Promise<T>): Promise<T> {
    return this.#lock.run([peerId], work);
  }

  /**
   * A link to a collector that there is none to, in memory alone.
   *
   * @param isSettled false until the other end has confirmed it
   * @throws {CollectorError} LINK_LIMIT_EXCEEDED
   */
  begin(connection: Connection, isSettled: boolean): Link {
    const { linksMax } = this.#options;
    if (this.table.size >= linksMax) {
      throw new CollectorError(
        "LINK_LIMIT_EXCEEDED",
        `collector ${this.collectorId} has ${this.table.size} links, the limit is ${linksMax} (meshPeersMax)`,
      );
    }
    const link = this.#newLink(connection, this.peerOf(connection), isSettled);
    this.table.add(link);
    return link;
  }

  /** A record of a link that begins now. */
  newConnection(fields: {
    readonly id: string;
    readonly sourceCollectorId: string;
    readonly targetCollectorId: string;
    readonly address: string;
    readonly offeredNamespaces?: readonly string[];
    readonly labels?: Readonly<Record<string, string>>;
    readonly sharesRegistrations?: readonly string[];
  }): Connection {
    const now = timestampOfUs(this.#options.clock.nowUs());
    const { labels = {}, offeredNamespaces = [], sharesRegistrations = [], ...rest } = fields;
    return create(ConnectionSchema, {
      ...rest,
      offeredNamespaces: [...offeredNamespaces],
      sharesRegistrations: [...sharesRegistrations],
      metadata: { createdAt: now, updatedAt: now, labels: { ...labels } },
      lastActivity: now,
    });
  }

  /** Writes a link as it is. */
  async keep(link: Link): Promise<void> {
    await this.#options.records.put(link);
  }

  /** Removes a link, as the other end knows of it or never did. Its stream is ended. */
  async forget(link: Link, problem: string): Promise<void> {
    this.table.remove(link);
    link.abandon(problem);
    await this.#options.records.delete(link.id);
  }

  /** Removes a link whose other end is still to be told. Its stream stays. */
  async part(link: Link): Promise<Connection> {
    const removedAt = timestampOfUs(this.#options.clock.nowUs());
    const connection = link.change({ removedAt });
    await this.keep(link);
    this.table.remove(link);
    this.#partings.set(connection.id, connection);
    await this.#boundPartings();
    return connection;
  }

  /** A removed link whose other end does not know. */
  parting(id: string): Connection | undefined {
    return this.#partings.get(id);
  }

  partings(): Connection[] {
    return [...this.#partings.values()];
  }

  /** The other end of a removed link knows, or will never ask. */
  async forgetParting(id: string): Promise<void> {
    if (this.#partings.delete(id)) await this.#options.records.delete(id);
  }

  /** Both have been told to link again, so nothing is left to be said of earlier links. */
  async forgetPartingsWith(peerId: string): Promise<void> {
    for (const connection of this.partings()) {
      if (this.peerOf(connection) === peerId) await this.forgetParting(connection.id);
    }
  }

  async #boundPartings(): Promise<void> {
    const [oldest] = this.#partings.keys();
    if (this.#partings.size > partingsMax && oldest !== undefined) {
      await this.forgetParting(oldest);
    }
  }

  #newLink(connection: Connection, peerId: string, isSettled: boolean): Link {
    return new Link(connection, peerId, isSettled, this.#options.listener);
  }
}
