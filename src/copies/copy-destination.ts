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

/** @param kind what has the name, if it is not just there: another than the copy that was to be refreshed */
export function destinationTaken(
  { namespace, name }: CopyDestination,
  kind: "collection" | "no copy",
  endpoint?: string,
): CollectorError {
  const what =
    kind === "no copy"
      ? `collection ${name} in namespace ${namespace} is no copy of this source`
      : `there is a collection ${name} in namespace ${namespace} already`;
  const where = endpoint === undefined ? "" : `on ${endpoint}, `;
  return new CollectorError("COLLECTION_EXISTS", `dest_name: ${where}${what}`, {
    subject: { namespace, collection: name, ...(endpoint === undefined ? {} : { endpoint }) },
  });
}
