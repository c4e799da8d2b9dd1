import type { HeaderList, IncomingHeaders } from "../grpc/server-stream.ts";

/** Headers of a connection of HTTP/1.1: HTTP/2 forbids them (RFC 9113, section 8.2.2). */
export const connectionHeaders: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);

const pseudoHeaders: ReadonlySet<string> = new Set([":authority", ":method", ":path", ":scheme"]);

/** Headers of which a second one means nothing; the first counts, as in Node. */
const singleHeaders: ReadonlySet<string> = new Set([
  "age",
  "authorization",
  "content-length",
  "content-type",
  "date",
  "etag",
  "expires",
  "from",
  "host",
  "if-modified-since",
  "if-unmodified-since",
  "last-modified",
  "location",
  "max-forwards",
  "proxy-authorization",
  "referer",
  "retry-after",
  "user-agent",
]);

/** The headers of a request by their names; undefined if they are none of a request (section 8.3.1). */
export function readRequestHeaders(list: HeaderList): IncomingHeaders | undefined {
  const headers: Record<string, string> = Object.create(null) as Record<string, string>;
  let isPastPseudo = false;
  for (let i = 0; i + 1 < list.length; i += 2) {
    const name = list[i] ?? "";
    const value = list[i + 1] ?? "";
    const before = headers[name];
    if (name.startsWith(":")) {
      if (isPastPseudo || before !== undefined || !pseudoHeaders.has(name)) return undefined;
    } else {
      isPastPseudo = true;
      if (connectionHeaders.has(name) || (name === "te" && value.toLowerCase() !== "trailers"))
        return undefined;
    }
    if (before === undefined) headers[name] = value;
    else if (name === "cookie") headers[name] = `${before}; ${value}`;
    else if (name === "content-length" && value !== before) return undefined;
    else if (!singleHeaders.has(name)) headers[name] = `${before}, ${value}`;
  }
  return isRequest(headers) ? headers : undefined;
}

function isRequest(headers: IncomingHeaders): boolean {
  const path = headers[":path"];
  const hasTarget = path !== undefined && headers[":scheme"] !== undefined;
  if (headers[":method"] === "CONNECT")
    return path === undefined && headers[":scheme"] === undefined;
  return headers[":method"] !== undefined && hasTarget;
}

/** What `content-length` says; NaN if that is no number, undefined if it says nothing. */
export function announcedBytes(headers: IncomingHeaders): number | undefined {
  const text = headers["content-length"];
  if (typeof text !== "string") return undefined;
  return /^[0-9]{1,15}$/.test(text) ? Number(text) : Number.NaN;
}
