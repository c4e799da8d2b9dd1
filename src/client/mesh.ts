import type { Collector } from "../gen/collector/dispatcher_pb.ts";
import { type LinkStatus } from "../gen/collector/mesh_pb.ts";
import type { CallLimits } from "./collection.ts";
import type { Services } from "./services.ts";

export interface LinkOptions extends CallLimits {
  /** Namespaces to offer to the other collector; all but `system` if it is left out. */
  readonly namespaces?: readonly string[] | undefined;
  /** Notes, kept with the link. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Namespaces whose types and services are shared, as far as this end goes; see {@link Mesh.share}. */
  readonly sharesRegistrations?: readonly string[] | undefined;
}

/** A link as it was made, or found. */
export interface NewLink {
  readonly id: string;
  /** Id of the collector at the other end. */
  readonly collectorId: string;
  /** Namespaces that both serve and offer. */
  readonly sharedNamespaces: readonly string[];
  readonly roundTripMs: number;
}

/** The links of a collector to others. */
export class Mesh {
  readonly #services: Services;

  constructor(services: Services) {
    this.#services = services;
  }

  /**
   * Links another collector, both ways, until one of them leaves. If they are linked already, it is that
   * link that is answered.
   *
   * @param address of the other one, as `host:port`; in the list of peers of the server
   * @throws {ClientError} PEER_DENIED, PEER_UNAVAILABLE, PEER_NOT_COLLECTOR, PEER_REFUSED,
   * LINK_INCOMPATIBLE, LINK_LIMIT_EXCEEDED, ARGUMENT_INVALID for its own address
   */
  async connect(address: string, options: LinkOptions = {}): Promise<NewLink> {
    const { namespaces = [], labels = {}, sharesRegistrations = [], ...limits } = options;
    const request = {
      address,
      namespaces: [...namespaces],
      metadata: { ...labels },
      sharesRegistrations: [...sharesRegistrations],
    };
    const answer = await this.#services.dispatcher.connect(request, limits);
    return {
      id: answer.connectionId,
      collectorId: answer.targetCollectorId,
      sharedNamespaces: answer.sharedNamespaces,
      roundTripMs: Number(answer.roundTripUs) / 1000,
    };
  }

  /** Removes a link, at both ends. @throws {ClientError} LINK_NOT_FOUND */
  async disconnect(id: string, limits: CallLimits = {}): Promise<void> {
    await this.#services.mesh.disconnect({ connectionId: id }, limits);
  }

  /**
   * Says of which namespaces this end shares types and services over a link, instead of those before: what one
   * end registers, the other one has as well, where both share it.
   *
   * @throws {ClientError} LINK_NOT_FOUND, NAME_INVALID, ARGUMENT_INVALID if the link does not offer one of them
   */
  async share(
    id: string,
    namespaces: readonly string[],
    limits: CallLimits = {},
  ): Promise<LinkStatus> {
    const request = { connectionId: id, namespaces: [...namespaces] };
    const { connection } = await this.#services.mesh.shareRegistrations(request, limits);
    if (connection === undefined) throw new Error("the server answered no link");
    return connection;
  }

  /** All links, by id. */
  async connections(limits: CallLimits = {}): Promise<LinkStatus[]> {
    const all: LinkStatus[] = [];
    let pageToken = "";
    do {
      const page = await this.#services.mesh.listConnections({ pageToken }, limits);
      all.push(...page.connections);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return all;
  }

  /** This collector, those that it is linked to, and those that these are linked to; by id. */
  async collectors(limits: CallLimits = {}): Promise<Collector[]> {
    const all: Collector[] = [];
    let pageToken = "";
    do {
      const page = await this.#services.mesh.listCollectors({ pageToken }, limits);
      all.push(...page.collectors);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    return all;
  }
}
