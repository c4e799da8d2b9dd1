import { create, toBinary } from "@bufbuild/protobuf";
import {
  type LinkNamespace,
  LinkNamespaceSchema,
  type LinkOffer,
  LinkOfferSchema,
  type LinkService,
  LinkServiceSchema,
} from "../../gen/collector/mesh_pb.ts";
import { systemNamespace } from "../../registry/names.ts";
import { linkProtocolVersion } from "./link-step.ts";
import {
  type OfferedService,
  offeredExecutorsMax,
  type RemoteService,
  remoteServicesMax,
} from "./peer-offer.ts";

/** What this collector has to offer; asked when that may have changed. */
export interface OfferSource {
  /** Every namespace that there is. */
  namespaces(): Iterable<string>;
  /** What can be run in a namespace here: not what linked collectors run. */
  servicesOf(namespace: string): Iterable<OfferedService>;
}

/** What can be reached through this collector. */
export interface RemoteOffers {
  /** Services of a namespace at other collectors, each by the shortest way. */
  remoteServicesOf(namespace: string): Iterable<RemoteService>;
}

/** What this collector says of itself. */
export interface OwnFacts {
  readonly collectorId: string;
  readonly serverVersion: string;
  /** As in MetaResponse.features. */
  readonly features: readonly string[];
  /** Where it can be dialled, as `host:port`; empty if it cannot. Asked again for each offer. */
  readonly address: () => string;
}

export interface OfferAbout {
  readonly connectionId: string;
  /** Namespaces to offer; empty for every one but `system`. */
  readonly namespaces: readonly string[];
  readonly linkedCollectorIds: readonly string[];
  /** Of the first offer of the end that opens the link. */
  readonly secret?: Uint8Array;
  readonly isDuplicate?: boolean;
  readonly isLeaving?: boolean;
  /** Namespaces whose registrations are shared, with a digest of each, in hex. */
  readonly registrations?: ReadonlyMap<string, string>;
  /** Whether a service at a collector is worth being told of. */
  readonly isNews?: (service: RemoteService) => boolean;
  /** Namespaces past so many bytes are left out. */
  readonly bytesMax: number;
}

/** An offer, and whether all of it is in there. */
export interface MadeOffer {
  readonly offer: LinkOffer;
  readonly leftOut: number;
}

/** Namespaces of this collector that go over a link, by name. */
export function offeredNamespaces(source: OfferSource, wanted: readonly string[]): string[] {
  const isWanted =
    wanted.length === 0
      ? (name: string) => name !== systemNamespace
      : (name: string) => wanted.includes(name);
  return [...source.namespaces()].filter(isWanted).sort();
}

/** Puts together what this collector says of itself over one link. */
export function makeOffer(
  source: OfferSource & RemoteOffers,
  facts: OwnFacts,
  about: OfferAbout,
): MadeOffer {
  const namespaces: LinkNamespace[] = [];
  const names = offeredNamespaces(source, about.namespaces);
  let bytes = 0;
  for (const name of names) {
    const { isNews } = about;
    const remote = isNews === undefined ? [] : [...source.remoteServicesOf(name)].filter(isNews);
    const namespace = toLinkNamespace(name, source.servicesOf(name), remote);
    const digest = about.registrations?.get(name);
    if (digest !== undefined) {
      namespace.sharesRegistrations = true;
      namespace.registrationsDigest = Buffer.from(digest, "hex");
    }
    bytes += toBinary(LinkNamespaceSchema, namespace).byteLength;
    if (bytes > about.bytesMax) break;
    namespaces.push(namespace);
  }
  const offer = create(LinkOfferSchema, {
    collectorId: facts.collectorId,
    protocolVersion: linkProtocolVersion,
    serverVersion: facts.serverVersion,
    address: facts.address(),
    namespaces,
    connectionId: about.connectionId,
    secret: about.secret ?? new Uint8Array(),
    linkedCollectorIds: [...about.linkedCollectorIds],
    features: [...facts.features],
    isDuplicate: about.isDuplicate ?? false,
    isLeaving: about.isLeaving ?? false,
  });
  return { offer, leftOut: names.length - namespaces.length };
}

function toLinkNamespace(
  name: string,
  services: Iterable<OfferedService>,
  remote: readonly RemoteService[],
): LinkNamespace {
  return create(LinkNamespaceSchema, {
    name,
    services: [...services].map((service) => toLinkService(service, [])).sort(byName),
    remoteServices: remote
      .slice(0, remoteServicesMax)
      .map((service) => toLinkService(service, service.way))
      .sort(byName),
  });
}

function toLinkService(service: OfferedService, way: readonly string[]): LinkService {
  return create(LinkServiceSchema, {
    name: service.name,
    executors: service.executors
      .slice(0, offeredExecutorsMax)
      .map((labels) => ({ labels: { ...labels } })),
    idempotentMethods: [...service.idempotentMethods].sort(),
    way: [...way],
  });
}

function byName(a: LinkService, b: LinkService): number {
  return a.name === b.name ? (a.way.join() < b.way.join() ? -1 : 1) : a.name < b.name ? -1 : 1;
}
