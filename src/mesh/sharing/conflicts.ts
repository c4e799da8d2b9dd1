import type { Log } from "../../lib/log.ts";
import type { RegistrationKind } from "../../registry/removal-table.ts";

/** Why a registration is not the same at both ends of a link, and what the other end has. */
export interface Conflict {
  readonly namespace: string;
  /** Undefined if it is about all of the namespace. */
  readonly kind: RegistrationKind | undefined;
  /** Of the file, or the full one of the service. */
  readonly name: string;
  /** Number of the version that is in force here; 0 if none is. */
  readonly version: bigint;
  /** The same at the other end. */
  readonly peerVersion: bigint;
  /** An ErrorReason of the registry that refuses it, or one of {@link sharingReasons}. */
  readonly reason: string;
  /** For people: what is wrong, and what to do. */
  readonly message: string;
}

/** A conflict, and since when there is one. */
export interface KnownConflict extends Conflict {
  /** Milliseconds since 1970. */
  readonly sinceMs: number;
}

/** Reasons beside those for which a registry refuses a registration. */
export const sharingReasons = {
  /** Both have altered it, or registered it by themselves, and neither version holds all of the other. */
  altered: "ALTERED_AT_BOTH_ENDS",
  /** The other end has removed what was registered here, or is in use here. */
  removed: "REMOVED_AT_PEER",
  /** The other end could not be asked, or its answer is none. */
  failed: "PULL_FAILED",
} as const;

/** Conflicts of one link in one namespace that are kept; of more, only the number is. */
const keptMax = 100;

/** Conflicts that one comparison writes to the log. */
const loggedMax = 20;

interface Held {
  readonly conflicts: ReadonlyMap<string, KnownConflict>;
  readonly count: number;
}

/** What is told of a link. */
export interface LinkConflicts {
  /** By namespace, kind and name; {@link keptMax} of a namespace at most. */
  readonly conflicts: readonly KnownConflict[];
  /** How many there are. */
  readonly count: number;
}

/** The registrations in which this collector does not agree with others. */
export class Conflicts {
  readonly #nowMs: () => number;
  readonly #log: Log;
  /** By link and namespace. */
  readonly #byLink = new Map<string, Map<string, Held>>();

  constructor(options: { readonly nowMs: () => number; readonly log: Log }) {
    this.#nowMs = options.nowMs;
    this.#log = options.log;
  }

  /** What is in conflict over a link in a namespace now: what is not among `found` is resolved. */
  replace(
    link: { readonly id: string; readonly peerId: string },
    namespace: string,
    found: readonly Conflict[],
  ): void {
    const namespaces = this.#byLink.get(link.id) ?? new Map<string, Held>();
    const before = namespaces.get(namespace)?.conflicts ?? new Map<string, KnownConflict>();
    const sorted = found.toSorted((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1)).slice(0, keptMax);
    const now = new Map<string, KnownConflict>();
    const fresh: Conflict[] = [];
    for (const conflict of sorted) {
      const known = before.get(keyOf(conflict));
      const isKnown = known !== undefined && isSame(known, conflict);
      if (!isKnown) fresh.push(conflict);
      now.set(keyOf(conflict), { ...conflict, sinceMs: known?.sinceMs ?? this.#nowMs() });
    }
    const about = { connectionId: link.id, collectorId: link.peerId };
    for (const conflict of fresh.slice(0, loggedMax)) {
      const { peerVersion, version, ...rest } = conflict;
      const versions = { version: Number(version), peerVersion: Number(peerVersion) };
      this.#log.warn({ ...about, ...rest, ...versions }, "a registration is in conflict");
    }
    if (fresh.length > loggedMax) {
      const more = fresh.length - loggedMax;
      this.#log.warn({ ...about, namespace, more }, "more registrations are in conflict");
    }
    const resolved = [...before.keys()].filter((key) => !now.has(key)).length;
    if (resolved > 0) {
      this.#log.info({ ...about, namespace, resolved }, "conflicts of registrations are resolved");
    }
    if (now.size > 0) namespaces.set(namespace, { conflicts: now, count: found.length });
    else namespaces.delete(namespace);
    if (namespaces.size > 0) this.#byLink.set(link.id, namespaces);
    else this.#byLink.delete(link.id);
  }

  /** Namespaces of a link in which something is in conflict. */
  namespacesOf(linkId: string): string[] {
    return [...(this.#byLink.get(linkId)?.keys() ?? [])];
  }

  /** The link is gone. */
  drop(linkId: string): void {
    this.#byLink.delete(linkId);
  }

  of(linkId: string): LinkConflicts {
    const held = [...(this.#byLink.get(linkId)?.entries() ?? [])].sort(([a], [b]) =>
      a < b ? -1 : 1,
    );
    return {
      conflicts: held.flatMap(([, { conflicts }]) => [...conflicts.values()]),
      count: held.reduce((sum, [, { count }]) => sum + count, 0),
    };
  }
}

function keyOf({ kind, name }: Conflict): string {
  return `${kind ?? ""} ${name}`;
}

function isSame(one: Conflict, other: Conflict): boolean {
  return (
    one.reason === other.reason &&
    one.version === other.version &&
    one.peerVersion === other.peerVersion
  );
}
