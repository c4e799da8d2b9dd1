import { create, toBinary } from "@bufbuild/protobuf";
import type { ConnectError } from "@connectrpc/connect";
import { StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { detailsName, type ForwardedError, isForwarded } from "../runtime/forwarded-error.ts";
import { packDetails } from "../status.ts";
import { encodeBinary, passableHeaders } from "./metadata.ts";
import type { HeaderList } from "./server-stream.ts";

/**
 * Longest message and details of a status, in bytes before encoding. gRPC clients refuse answers
 * with more than 8 KiB of headers, and then the caller would see no status at all.
 */
const messageBytesMax = 1024;
const detailsBytesMax = 3072;

/** The status of an answer that succeeded. */
export const okStatus: HeaderList = ["grpc-status", "0"];

/**
 * The status of an answer that failed: code, message, `google.rpc.Status` and the error's own
 * metadata. A long message is cut, and details that would not fit are left out, the last ones first.
 */
export function statusTrailers(error: ConnectError): HeaderList {
  if (isForwarded(error)) return forwardedTrailers(error);
  const message = cut(error.rawMessage);
  const result = ["grpc-status", String(error.code)];
  if (message !== "") result.push("grpc-message", percentEncode(message));
  const details = packDetails(error, detailsBytesMax);
  if (details.length > 0) {
    const status = create(StatusSchema, { code: error.code, message, details });
    result.push("grpc-status-details-bin", encodeBinary(toBinary(StatusSchema, status)));
  }
  result.push(...passableHeaders(error.metadata));
  return result;
}

/** Another server's status as it came. */
function forwardedTrailers({ code, rawMessage, trailers }: ForwardedError): HeaderList {
  const result = ["grpc-status", String(code)];
  if (rawMessage !== "") result.push("grpc-message", percentEncode(rawMessage));
  for (const [name, value] of trailers) {
    if (name === detailsName) result.push(name, value);
  }
  result.push(...passableHeaders(trailers));
  return result;
}

/** Printable ASCII but `%` as it is, every other byte of UTF-8 as `%XX`. */
export function percentEncode(text: string): string {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(text)) return text;
  let result = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    result += isPlain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return result;
}

function cut(message: string): string {
  if (Buffer.byteLength(message) <= messageBytesMax) return message;
  const bytes = Buffer.from(message, "utf8").subarray(0, messageBytesMax);
  // The last character may be cut in two, which decodes as U+FFFD.
  return `${bytes.toString("utf8").replace(/\uFFFD$/, "")}…`;
}
