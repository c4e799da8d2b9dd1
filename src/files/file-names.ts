import { invalidField } from "../errors.ts";
import { quote, refuseEmpty } from "../registry/names.ts";

/** Longest name of a file, in UTF-8 bytes. */
export const nameBytesMax = 1024;

/** Longest part of a name between two slashes, in UTF-8 bytes. */
export const segmentBytesMax = 255;

/** Longest media type, in bytes. */
const contentTypeBytesMax = 255;

/** Media type of content that was stored without one. */
export const defaultContentType = "application/octet-stream";

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const contentTypePattern = new RegExp(
  `^${token}/${token}(?:[ \\t]*;[ \\t]*${token}=(?:${token}|"[ !#-\\[\\]-~]*"))*$`,
);
const sha256Pattern = /^[0-9a-f]{64}$/;

/**
 * Checks the name of a file. What it holds is never decoded: `%2f` is three characters.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, FILE_NAME_INVALID about the field `field`
 */
export function checkFileName(name: string, field: string): void {
  refuseEmpty(name, field, "file");
  const fault = nameFault(name);
  if (fault !== undefined) throw invalidField("FILE_NAME_INVALID", field, fault);
}

/**
 * Checks the prefix that names are listed by: it may end anywhere in a name.
 *
 * @throws {CollectorError} FILE_NAME_INVALID about the field `field`
 */
export function checkFilePrefix(prefix: string, field: string): void {
  const fault = textFault(prefix);
  if (fault !== undefined) throw invalidField("FILE_NAME_INVALID", field, fault);
}

function nameFault(name: string): string | undefined {
  const fault = textFault(name);
  if (fault !== undefined) return fault;
  for (const segment of name.split("/")) {
    if (segment === "") {
      return "begins or ends with `/`, or has two of them together; write it as in `photos/front.jpg`";
    }
    if (segment === "." || segment === "..") {
      return `has the segment ${quote(segment)}, which names no file; leave it out`;
    }
    const bytes = Buffer.byteLength(segment);
    if (bytes > segmentBytesMax) {
      return `has a segment of ${bytes} bytes, the limit between two slashes is ${segmentBytesMax}`;
    }
  }
  return undefined;
}

function textFault(text: string): string | undefined {
  const bytes = Buffer.byteLength(text);
  if (bytes > nameBytesMax) return `has ${bytes} bytes of UTF-8, the limit is ${nameBytesMax}`;
  if (!text.isWellFormed()) return "holds half a surrogate pair, so it is not UTF-8";
  if (text.includes("\\")) return "holds a backslash; segments are apart by `/`";
  if (/\p{Cc}/u.test(text)) return "holds a control character";
  return undefined;
}

/**
 * The media type to store. It is sent as a header later, so it has to be one.
 *
 * @throws {CollectorError} ARGUMENT_INVALID about the field `field`
 */
export function checkContentType(contentType: string, field: string): string {
  if (contentType === "") return defaultContentType;
  const bytes = Buffer.byteLength(contentType);
  if (bytes > contentTypeBytesMax) {
    throw invalidField(
      "ARGUMENT_INVALID",
      field,
      `has ${bytes} bytes, the limit is ${contentTypeBytesMax}`,
    );
  }
  if (contentTypePattern.test(contentType)) return contentType;
  throw invalidField(
    "ARGUMENT_INVALID",
    field,
    `${quote(contentType)} is no media type; write it as in \`image/jpeg\` or \`text/plain; charset=utf-8\``,
  );
}

/**
 * A SHA-256 in lower-case hex; undefined for none.
 *
 * @throws {CollectorError} ARGUMENT_INVALID about the field `field`
 */
export function checkSha256(text: string, field: string): string | undefined {
  if (text === "") return undefined;
  const sha256 = text.toLowerCase();
  if (sha256Pattern.test(sha256)) return sha256;
  throw invalidField("ARGUMENT_INVALID", field, "is no SHA-256: send 64 digits of hex");
}

/** Where a file is read by HTTP, as a path on this server. */
export function fileUri(file: {
  readonly namespace: string;
  readonly collectionName: string;
  readonly recordId: string;
  readonly name: string;
}): string {
  const { namespace, collectionName, recordId, name } = file;
  const owner = recordId === "" ? "shared" : `records/${encodeSegment(recordId)}`;
  const path = name.split("/").map(encodeSegment).join("/");
  return `/files/${encodeSegment(namespace)}/${encodeSegment(collectionName)}/${owner}/${path}`;
}

/** A record may be called `..`, which a URL would not hold as it is. */
function encodeSegment(segment: string): string {
  if (segment === "." || segment === "..") return segment.replaceAll(".", "%2E");
  return encodeURIComponent(segment);
}
