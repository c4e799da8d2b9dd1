import { inputHeader, itemHeader, itemIdHeader } from "../../mesh/item-request.ts";
import type { Call } from "../call.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";

/** What HTTP, Connect and browsers say between this server and its caller alone. */
const hopNames: ReadonlySet<string> = new Set([
  "accept",
  "accept-language",
  "cookie",
  "dnt",
  "forwarded",
  "origin",
  "pragma",
  "cache-control",
  "priority",
  "referer",
  "via",
  "x-grpc-web",
]);

const hopPrefixes = ["connect-", "sec-"] as const;

/** Headers in our name. */
const ownPrefix = "x-collector-";

/** What Invoke tells an implementation. No caller can: headers in our name are not taken from them. */
const itemHeaders: ReadonlySet<string> = new Set([itemIdHeader, itemHeader, inputHeader]);

/** The caller's credentials, where they are for this server. */
const credentials = "authorization";

/**
 * The metadata that goes on with a call: the caller's own, and the namespace that was settled. What is
 * between two neighbours stays behind.
 *
 * @param hidesCredentials whether the caller's credentials are for this server and nobody else
 */
export function forwardedMetadata(
  call: Call,
  hidesCredentials: boolean,
): (readonly [string, string])[] {
  const result: (readonly [string, string])[] = [[namespaceHeader, call.namespace]];
  const isHttp = call.protocol !== "grpc";
  for (const entry of call.requestMetadata.entries()) {
    const [name] = entry;
    // What collectors say to each other is of one link only, but for what the implementation is told.
    if (name.startsWith(ownPrefix) && !itemHeaders.has(name)) continue;
    if (hidesCredentials && name === credentials) continue;
    if (isHttp && isHop(name)) continue;
    result.push(entry);
  }
  return result;
}

function isHop(name: string): boolean {
  return hopNames.has(name) || hopPrefixes.some((prefix) => name.startsWith(prefix));
}
