import { create, toBinary } from "@bufbuild/protobuf";
import {
  type LinkNamespace,
  LinkNamespaceSchema,
  type LinkOffer,
  LinkOfferSchema,
} from "../../gen/collector/mesh_pb.ts";
import { systemNamespace } from "../../registry/names.ts";
import { linkProtocolVersion } from "./link-step.ts";
import { type OfferedService, offeredExecutorsMax } from "./peer-offer.ts";

/** What this collector has to offer; asked when that may have changed. */
export interface OfferSource {
  /** Every namespace that there is. */
  namespaces(): Iterable<string>;
  /** What can be run in a namespace here: not what linked collectors run. */
  servicesOf(namespace: string): Iterable<OfferedService>;
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
export function makeOffer(source: OfferSource, facts: OwnFacts, about: OfferAbout): MadeOffer {
  const namespaces: LinkNamespace[] = [];
  const names = offeredNamespaces(source, about.namespaces);
  let bytes = 0;
  for (const name of names) {
    const namespace = toLinkNamespace(name, source.servicesOf(name));
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

function toLinkNamespace(name: string, services: Iterable<OfferedService>): LinkNamespace {
  return create(LinkNamespaceSchema, {
    name,
    services: [...services]
      .map((service) => ({
        name: service.name,
        executors: service.executors
          .slice(0, offeredExecutorsMax)
          .map((labels) => ({ labels: { ...labels } })),
        idempotentMethods: [...service.idempotentMethods].sort(),
      }))
      .sort((a, b) => (a.name < b.name ? -1 : 1)),
  });
}
