import { isIP, isIPv4, isIPv6 } from "node:net";

/** A server to dial, as its text says; nothing is looked up yet. */
export interface Endpoint {
  readonly secure: boolean;
  /** Name in lower case, or address; IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
  /** As in `http://[::1]:50051`. */
  readonly url: string;
}

const hostBytesMax = 253;
const label = /^[a-z0-9](?:[a-z0-9_-]{0,61}[a-z0-9])?$/;

/**
 * Reads `host:port`, `http://host:port` or `https://host:port`. There is one way to write each
 * endpoint: no user, path or query, no numbers in other bases, no leading zeros, no IPv4 in IPv6.
 *
 * @returns undefined for anything else
 */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match =
    /^(?:(https?):\/\/)?(\[[0-9A-Fa-f:.]{2,45}\]|[^[\]:/?#@\\\s]{1,253}):([0-9]{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, scheme, hostText = "", portText = ""] = match;
  const port = parsePort(portText);
  const host = hostText.startsWith("[") ? parseBracketed(hostText) : parseHost(hostText);
  if (host === undefined || port === undefined) return undefined;
  const secure = scheme === "https";
  const shown = isIPv6(host) ? `[${host}]` : host;
  return { secure, host, port, url: `http${secure ? "s" : ""}://${shown}:${port}` };
}

/** A port from 1 up, without leading zeros. */
export function parsePort(text: string): number | undefined {
  if (!/^[1-9][0-9]{0,4}$/.test(text)) return undefined;
  const port = Number(text);
  return port <= 65_535 ? port : undefined;
}

/** A name in lower case, or an IPv4 address in its usual form. */
export function parseHost(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const host = text.toLowerCase();
  if (Buffer.byteLength(host) > hostBytesMax) return undefined;
  const labels = host.split(".");
  if (!labels.every((part) => label.test(part))) return undefined;
  // What ends in a number is read as an address by many: 2130706433, 127.1, 0x7f.1.
  const last = labels.at(-1) ?? "";
  return /^(?:[0-9]+|0x[0-9a-f]*)$/.test(last) ? undefined : host;
}

function parseBracketed(text: string): string | undefined {
  const host = text.slice(1, -1);
  if (!isIPv6(host)) return undefined;
  const plain = plainAddress(host);
  return isIPv6(plain) ? plain : undefined;
}

/**
 * One form for each address: IPv6 as short as it gets, and IPv4 that is wrapped in IPv6 as itself.
 *
 * @param address what `isIP` takes; a zone is dropped
 */
export function plainAddress(address: string): string {
  const bare = address.split("%", 1)[0] ?? "";
  if (isIP(bare) !== 6) return bare;
  const short = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const groups = /^::(?:ffff:)?([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (groups === null) return short;
  const [high, low] = [groups[1], groups[2]].map((group = "0") => Number.parseInt(group, 16));
  if (high === undefined || low === undefined) return short;
  return `${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}
