import { CollectorError } from "../../errors.ts";
import type { MetadataEntries } from "../../mesh/channel.ts";
import { linkHeader } from "../../mesh/links/link-channel.ts";
import type { RequestMetadata, ResponseMetadata } from "../call.ts";
import type { HeaderList, IncomingHeaders } from "./server-stream.ts";

/** The one header of ours that a caller may send. */
const namespaceHeader = "x-collector-namespace";

/** Headers of HTTP/2 and gRPC itself: neither shown to handlers nor theirs to set. */
const protocolHeaders: ReadonlySet<string> = new Set([
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "date",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

function isReserved(name: string): boolean {
  return name.startsWith(":") || name.startsWith("grpc-") || protocolHeaders.has(name);
}

/**
 * Whether a handler may see a header: neither the protocol's, nor one in our name that a caller could
 * forge. Those of a linked collector are believed; what proves that it is one stays here.
 */
function isVisible(name: string, isTrusted: boolean): boolean {
  if (!name.startsWith("x-collector-")) return !isReserved(name);
  return name === namespaceHeader || (isTrusted && name !== linkHeader);
}

const asciiValue = /^[\x20-\x7e]*$/;
const base64Value = /^[A-Za-z0-9+/]*={0,2}$/;

/** The metadata of a request, read from its headers when asked. */
export class GrpcRequestMetadata implements RequestMetadata {
  readonly #headers: IncomingHeaders;
  readonly #rawHeaders: HeaderList;
  readonly #isTrusted: boolean;

  /**
   * @param rawHeaders the headers as they came
   * @param isTrusted whether the call came over a link, so that headers in our name are believed
   */
  constructor(headers: IncomingHeaders, rawHeaders: HeaderList, isTrusted = false) {
    this.#headers = headers;
    this.#rawHeaders = rawHeaders;
    this.#isTrusted = isTrusted;
  }

  /** @throws {CollectorError} METADATA_INVALID if the value is not printable ASCII */
  get(name: string): string | undefined {
    if (!isVisible(name, this.#isTrusted)) return undefined;
    const joined = this.#headers[name];
    if (joined === undefined) return undefined;
    const value = typeof joined === "string" ? this.#first(name, joined) : (joined[0] ?? "");
    return checkAscii(name, value);
  }

  /** @throws {CollectorError} METADATA_INVALID if the value is not base64 */
  getBinary(name: string): Uint8Array | undefined {
    const value = this.get(name);
    return value === undefined ? undefined : decodeBinary(name, firstOfList(value));
  }

  /** @throws {CollectorError} METADATA_INVALID as `get` */
  entries(): readonly (readonly [string, string])[] {
    const result: (readonly [string, string])[] = [];
    const raw = this.#rawHeaders;
    for (let i = 0; i + 1 < raw.length; i += 2) {
      const name = raw[i] ?? "";
      if (!isVisible(name, this.#isTrusted)) continue;
      const value = checkAscii(name, raw[i + 1] ?? "");
      if (!name.endsWith("-bin")) {
        result.push([name, value]);
        continue;
      }
      for (const item of value.split(",")) result.push([name, item.trim()]);
    }
    return result;
  }

  /** Engines join repeated headers by commas, which values may hold too. */
  #first(name: string, joined: string): string {
    if (!joined.includes(",")) return joined;
    const at = this.#rawHeaders.findIndex((entry, i) => i % 2 === 0 && entry === name);
    return this.#rawHeaders[at + 1] ?? joined;
  }
}

function firstOfList(value: string): string {
  const comma = value.indexOf(",");
  return comma < 0 ? value : value.slice(0, comma).trim();
}

function checkAscii(name: string, value: string): string {
  if (asciiValue.test(value)) return value;
  throw new CollectorError(
    "METADATA_INVALID",
    `${name}: must be printable ASCII; other values go base64-encoded under a name ending in -bin`,
  );
}

/** Bytes of a `-bin` value; padding is optional. @throws {CollectorError} METADATA_INVALID */
export function decodeBinary(name: string, value: string): Uint8Array {
  if (!base64Value.test(value)) {
    throw new CollectorError("METADATA_INVALID", `${name}: must be base64`);
  }
  return Uint8Array.from(Buffer.from(value, "base64"));
}

/** A `-bin` value, without padding, as gRPC recommends. */
export function encodeBinary(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    .toString("base64")
    .replace(/=+$/, "");
}

/** The metadata of an answer, kept as the list of headers that is sent. */
export class GrpcResponseMetadata implements ResponseMetadata {
  readonly #list: string[] = [];
  #isSent = false;

  get list(): HeaderList {
    return this.#list;
  }

  /** From here on {@link set} throws, so that no value is lost in silence. */
  seal(): void {
    this.#isSent = true;
  }

  /** @throws {TypeError} for a name or value that gRPC cannot carry, and after the metadata is sent */
  set(name: string, value: string | Uint8Array): void {
    if (this.#isSent) throw new TypeError(`${name}: this metadata is sent already`);
    const text = headerText(name, value);
    for (let i = 0; i < this.#list.length; i += 2) {
      if (this.#list[i] === name) {
        this.#list[i + 1] = text;
        return;
      }
    }
    this.#list.push(name, text);
  }

  pass(entries: MetadataEntries): void {
    if (this.#isSent) return;
    this.#list.push(...passableHeaders(entries));
  }
}

/** What goes on the wire for a name and value. @throws {TypeError} if gRPC cannot carry them */
function headerText(name: string, value: string | Uint8Array): string {
  if (!/^[0-9a-z_.-]+$/.test(name)) {
    throw new TypeError(`${name}: metadata names are made of 0-9 a-z _ . -`);
  }
  if (isReserved(name)) throw new TypeError(`${name}: the protocol reserves this name`);
  if (name.endsWith("-bin")) {
    if (typeof value === "string") throw new TypeError(`${name}: a -bin name takes bytes`);
    return encodeBinary(value);
  }
  if (typeof value !== "string") throw new TypeError(`${name}: bytes need a name ending in -bin`);
  if (!asciiValue.test(value)) throw new TypeError(`${name}: must be printable ASCII`);
  return value;
}

/** Pairs of foreign headers that may go out as metadata; the others are left out. */
export function passableHeaders(headers: Iterable<readonly [string, string]>): HeaderList {
  const result: string[] = [];
  for (const [name, value] of headers) {
    if (!isReserved(name) && asciiValue.test(value)) result.push(name, value);
  }
  return result;
}
