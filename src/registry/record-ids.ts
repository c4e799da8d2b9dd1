import { createHash } from "node:crypto";

/** Ids of records hold at most this many bytes, whatever the limit on other records is. */
const idBytesMax = 256;

/** Id of the record of one version of a file: readable where it fits, else with a hash. */
export function fileRecordId(namespace: string, name: string, version: bigint): string {
  return fitting(namespace, name, `@${version}`);
}

/** Id of the record of a service. */
export function serviceRecordId(namespace: string, fullName: string): string {
  return fitting(namespace, fullName, "");
}

/** Id of the record of how often something was removed. */
export function removalRecordId(namespace: string, kind: string, name: string): string {
  return fitting(namespace, name, `@${kind}`);
}

function fitting(namespace: string, name: string, suffix: string): string {
  const id = `${namespace}/${name}${suffix}`;
  if (Buffer.byteLength(id) <= idBytesMax) return id;
  const hash = createHash("sha256").update(name).digest("hex");
  return `${namespace}/sha256:${hash}${suffix}`;
}
