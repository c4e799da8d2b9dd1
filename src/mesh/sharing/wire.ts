import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import {
  RegistrationKind as Kind,
  type RegistrationConflict,
  RegistrationConflictSchema,
  type SharedRegistration,
  SharedRegistrationSchema,
} from "../../gen/collector/sharing_pb.ts";
import type { SharedEntry } from "../../registry/exchange.ts";
import type { RegistrationKind } from "../../registry/removal-table.ts";
import type { KnownConflict } from "./conflicts.ts";

const kinds: Readonly<Record<RegistrationKind, Kind>> = {
  file: Kind.FILE,
  service: Kind.SERVICE,
};

const hashBytes = 16;
const nameBytesMax = 1024;
const originPattern = /^(?:[A-Za-z0-9][A-Za-z0-9._-]{0,127})?$/;

export function writeEntry(entry: SharedEntry): SharedRegistration {
  return create(SharedRegistrationSchema, {
    kind: kinds[entry.kind],
    name: entry.name,
    removals: BigInt(entry.removals),
    isRemoved: entry.isRemoved,
    versions: entry.versions.map((hash) => Buffer.from(hash, "hex")),
    version: entry.version,
    fileName: entry.fileName,
    originCollectorId: entry.origin,
  });
}

/** What another collector tells; undefined if that has not the form that it must have. */
export function readEntry(said: SharedRegistration): SharedEntry | undefined {
  const { name, isRemoved, version, fileName, originCollectorId: origin } = said;
  const kind =
    said.kind === Kind.FILE ? "file" : said.kind === Kind.SERVICE ? "service" : undefined;
  const removals = Number(said.removals);
  if (kind === undefined || !isName(name) || (fileName !== "" && !isName(fileName)))
    return undefined;
  if (!Number.isSafeInteger(removals) || removals < 0 || version < 0n) return undefined;
  if (!originPattern.test(origin)) return undefined;
  if (said.versions.some((hash) => hash.byteLength !== hashBytes)) return undefined;
  const hasVersions = said.versions.length > 0;
  if (hasVersions !== (kind === "file" && !isRemoved)) return undefined;
  const versions = said.versions.map((hash) => Buffer.from(hash).toString("hex"));
  return { kind, name, removals, isRemoved, versions, version, fileName, origin };
}

/** What may be shown to people. */
function isName(text: string): boolean {
  return text !== "" && Buffer.byteLength(text) <= nameBytesMax && !/\p{C}/u.test(text);
}

export function writeConflict(conflict: KnownConflict): RegistrationConflict {
  const { kind, namespace, name, version, peerVersion, reason, message, sinceMs } = conflict;
  return create(RegistrationConflictSchema, {
    namespace,
    kind: kind === undefined ? Kind.UNSPECIFIED : kinds[kind],
    name,
    version,
    peerVersion,
    reason,
    message,
    since: timestampFromMs(sinceMs),
  });
}
