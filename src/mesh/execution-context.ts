import { invalidField } from "../errors.ts";
import { quote } from "../registry/names.ts";
import type { MetadataEntries } from "./channel.ts";

/** What a context may have in sum, in bytes: header lists end at 16 KiB, and it is not alone there. */
export const contextBytesMax = 8192;

const namePattern = /^[0-9a-z_.-]{1,128}$/;
const asciiValue = /^[\x20-\x7e]*$/;
const base64Value = /^[A-Za-z0-9+/]*={0,2}$/;

/** Names with a meaning of their own on the way: the protocols', and those that tell who calls. */
const reservedNames: ReadonlySet<string> = new Set([
  "authorization",
  "accept-encoding",
  "connection",
  "content-encoding",
  "content-length",
  "content-type",
  "cookie",
  "date",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "user-agent",
]);

const reservedPrefixes = ["grpc-", "connect-", "x-collector-"] as const;

/**
 * What a caller says of the circumstances of a call, as metadata for its implementation.
 *
 * @throws {CollectorError} ARGUMENT_INVALID naming the entry
 */
export function contextMetadata(
  context: Readonly<Record<string, string>>,
  field: string,
): MetadataEntries {
  const entries = Object.entries(context);
  let bytes = 0;
  for (const [name, value] of entries) {
    const fault = faultOf(name, value);
    if (fault !== undefined) {
      throw invalidField("ARGUMENT_INVALID", `${field}[${quote(name)}]`, fault);
    }
    bytes += name.length + value.length;
  }
  if (bytes > contextBytesMax) {
    const problem = `has ${bytes} bytes, and ${contextBytesMax} go as metadata`;
    throw invalidField("ARGUMENT_INVALID", field, problem);
  }
  return entries;
}

function faultOf(name: string, value: string): string | undefined {
  if (!namePattern.test(name)) {
    return "goes as metadata, whose names have 1 to 128 of 0-9 a-z _ . -";
  }
  if (reservedNames.has(name) || reservedPrefixes.some((prefix) => name.startsWith(prefix))) {
    return "is a name with a meaning of its own; choose another";
  }
  if (name.endsWith("-bin")) {
    return base64Value.test(value) ? undefined : "has a name in -bin, so its value must be base64";
  }
  return asciiValue.test(value)
    ? undefined
    : "must be printable ASCII; other values go base64-encoded under a name ending in -bin";
}
