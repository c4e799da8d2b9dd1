import { checkCollectionName, refuseSystemWrite } from "../collections/names.ts";
import { CollectorError } from "../errors.ts";
import { checkNamespaceName } from "../registry/names.ts";

/** What a copy is to be called. */
export interface CopyDestination {
  readonly namespace: string;
  readonly name: string;
}

/** @throws {CollectorError} ARGUMENT_MISSING, NAME_INVALID, SYSTEM_READ_ONLY */
export function checkDestination({ namespace, name }: CopyDestination): void {
  checkNamespaceName(namespace, "dest_namespace");
  checkCollectionName(name, "dest_name");
  refuseSystemWrite(namespace);
}

/** What there is in place of a copy: a collection, or one that is no copy of what is to be copied. */
export type Taken = "collection" | "no copy";

/** A failure of a call whose field `dest_name` says what the copy is to be called. */
export function destinationTaken(
  place: CopyDestination,
  taken: Taken,
  endpoint?: string,
): CollectorError {
  const where = endpoint === undefined ? "" : `on ${endpoint}, `;
  return new CollectorError("COLLECTION_EXISTS", `dest_name: ${where}${textOf(place, taken)}`, {
    subject: { ...subjectOf(place), ...(endpoint === undefined ? {} : { endpoint }) },
  });
}

/** The same, wherever the name comes from. */
export function nameTaken(place: CopyDestination, taken: Taken): CollectorError {
  return new CollectorError("COLLECTION_EXISTS", textOf(place, taken), {
    subject: subjectOf(place),
  });
}

function textOf({ namespace, name }: CopyDestination, taken: Taken): string {
  return taken === "no copy"
    ? `collection ${name} in namespace ${namespace} is no copy of this source`
    : `there is a collection ${name} in namespace ${namespace} already`;
}

function subjectOf({ namespace, name }: CopyDestination): Record<string, string> {
  return { namespace, collection: name };
}
