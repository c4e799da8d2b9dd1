import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import type { RegistrationConflict } from "../../gen/collector/sharing_pb.ts";
import type { Link } from "./link.ts";

/** What links need of the part that shares registrations over them. */
export interface LinkSharing {
  /** Namespaces whose registrations this end shares over a link, with a digest of each, in hex. */
  offeredOver(connection: Connection): Iterable<readonly [namespace: string, digest: string]>;
  /** The link is up, the other end offers something else, or this end does. */
  follow(link: Link): void;
  /** Links have come or gone. */
  linksChanged(): void;
  /** What lists show of it. */
  viewOf(link: Link): {
    readonly sharedRegistrations: string[];
    readonly registrationConflicts: RegistrationConflict[];
    readonly registrationConflictCount: bigint;
  };
}
