import { checkLabels, type LabelLimits } from "../../collections/names.ts";
import { CollectorError, invalidField } from "../../errors.ts";
import type { LinkOffer } from "../../gen/collector/mesh_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { quote, systemNamespace } from "../../registry/names.ts";
import { linkProtocolVersion } from "./link-step.ts";

/** Executors of one service whose labels an offer tells apart. */
export const offeredExecutorsMax = 64;

/** Services at other collectors that an offer tells of, for each namespace. */
export const remoteServicesMax = 2000;

/** Ids of other collectors, and features, that are read of an offer. */
const namesMax = 1000;

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;
const connectionPattern = /^[A-Za-z0-9-]{1,64}$/;
const serviceBytesMax = 512;
const addressCharsMax = 280;
export const secretBytes = 32;

/** A service that a linked collector can run. */
export interface OfferedService {
  /** Full name. */
  readonly name: string;
  /** Labels of what runs it, each set once; empty if nothing has labels. */
  readonly executors: readonly Readonly<Record<string, string>>[];
  /** Names of the methods that may be run again. */
  readonly idempotentMethods: ReadonlySet<string>;
}

/** A service at another collector, which is reached through a linked one. */
export interface RemoteService extends OfferedService {
  /** Ids of the collectors behind the linked one, the one that runs it last. At least one. */
  readonly way: readonly string[];
}

/** What the other end of a link says of itself, checked. */
export interface PeerOffer {
  readonly collectorId: string;
  readonly serverVersion: string;
  /** Empty if it cannot be dialled. */
  readonly address: string;
  readonly connectionId: string;
  readonly namespaces: ReadonlyMap<string, ReadonlyMap<string, OfferedService>>;
  /** By namespace. */
  readonly remoteServices: ReadonlyMap<string, readonly RemoteService[]>;
  /** Namespaces whose registrations it shares, with a digest of each, in hex. */
  readonly registrations: ReadonlyMap<string, string>;
  readonly linkedCollectorIds: readonly string[];
  readonly features: readonly string[];
  readonly isDuplicate: boolean;
  /** It is about to stop, and takes no new calls. */
  readonly isLeaving: boolean;
}

/** The same text for the same labels, in whatever order. */
export function keyOfLabels(labels: Readonly<Record<string, string>>): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Checks what a peer says of itself.
 *
 * @throws {CollectorError} LINK_INCOMPATIBLE for another version of the protocol, with both;
 * ARGUMENT_INVALID, NAME_INVALID, LABEL_INVALID naming the field
 */
export function readOffer(
  offer: LinkOffer,
  own: {
    readonly serverVersion: string;
    readonly limits: LabelLimits & Pick<Limits, "meshHopsMax">;
  },
): PeerOffer {
  if (offer.protocolVersion !== linkProtocolVersion) {
    throw new CollectorError(
      "LINK_INCOMPATIBLE",
      `version ${offer.protocolVersion} of the link's protocol (Collector ${quote(offer.serverVersion)}) and version ${linkProtocolVersion} (Collector ${quote(own.serverVersion)}) do not fit: upgrade the older one`,
      {
        subject: {
          offered: String(offer.protocolVersion),
          supported: String(linkProtocolVersion),
        },
      },
    );
  }
  checkId(offer.collectorId, "offer.collector_id");
  if (!connectionPattern.test(offer.connectionId)) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "offer.connection_id",
      "must be 1 to 64 of A-Z a-z 0-9 -",
    );
  }
  if (offer.address.length > addressCharsMax) {
    throw invalidField("ARGUMENT_INVALID", "offer.address", "is no host:port");
  }
  const namespaces = new Map<string, ReadonlyMap<string, OfferedService>>();
  const remoteServices = new Map<string, readonly RemoteService[]>();
  const registrations = new Map<string, string>();
  for (const [index, namespace] of offer.namespaces.entries()) {
    const { name, services, remoteServices: remote } = namespace;
    const field = `offer.namespaces[${index}]`;
    checkId(name, `${field}.name`);
    if (name === systemNamespace) {
      throw invalidField("NAME_INVALID", `${field}.name`, "a server's own namespace is not shared");
    }
    const read = readServices(services, `${field}.services`, own.limits);
    namespaces.set(name, new Map(read.map((service) => [service.name, service])));
    const elsewhere = readServices(
      remote.slice(0, remoteServicesMax),
      `${field}.remote_services`,
      own.limits,
    );
    // A way that no call may go, or that leads nowhere, is none.
    remoteServices.set(
      name,
      elsewhere.filter(({ way }) => way.length > 0 && way.length < own.limits.meshHopsMax),
    );
    if (namespace.sharesRegistrations) {
      registrations.set(name, Buffer.from(namespace.registrationsDigest).toString("hex"));
    }
  }
  return {
    collectorId: offer.collectorId,
    serverVersion: offer.serverVersion.slice(0, 128),
    address: offer.address,
    connectionId: offer.connectionId,
    namespaces,
    remoteServices,
    registrations,
    linkedCollectorIds: offer.linkedCollectorIds.slice(0, namesMax).filter(isId),
    features: offer.features.slice(0, namesMax).filter(isId),
    isDuplicate: offer.isDuplicate,
    isLeaving: offer.isLeaving,
  };
}

function readServices(
  services: LinkOffer["namespaces"][number]["services"],
  parent: string,
  limits: LabelLimits,
): readonly RemoteService[] {
  const result: RemoteService[] = [];
  for (const [index, service] of services.entries()) {
    const field = `${parent}[${index}]`;
    const { name } = service;
    if (name === "" || Buffer.byteLength(name) > serviceBytesMax || !/^[\w.]+$/.test(name)) {
      throw invalidField("NAME_INVALID", `${field}.name`, "is no full name of a service");
    }
    const executors = service.executors.slice(0, offeredExecutorsMax).map(({ labels }) => labels);
    for (const [at, labels] of executors.entries()) {
      checkLabels(labels, limits, `${field}.executors[${at}].labels`);
    }
    for (const [at, id] of service.way.entries()) checkId(id, `${field}.way[${at}]`);
    const { way } = service;
    result.push({ name, executors, way, idempotentMethods: new Set(service.idempotentMethods) });
  }
  return result;
}

function checkId(id: string, field: string): void {
  if (isId(id)) return;
  throw invalidField(
    "NAME_INVALID",
    field,
    `${quote(id)} is not 1 to 128 of A-Z a-z 0-9 . _ -, the first a letter or digit`,
  );
}

function isId(id: string): boolean {
  return idPattern.test(id);
}
