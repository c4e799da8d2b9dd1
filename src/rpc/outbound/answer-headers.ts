import { fromBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { type Status, StatusSchema } from "../../gen/google/rpc/status_pb.ts";
import { CallFailure, type MetadataEntries } from "../../mesh/channel.ts";
import { decodeBinary } from "../grpc/metadata.ts";
import type { HeaderList } from "../grpc/server-stream.ts";

/** The last of gRPC's codes. */
const codeMax = 16;

const none: MetadataEntries = [];

/** Where the details of a status are, among the trailers. */
export const detailsName = "grpc-status-details-bin";

const protocolNames: ReadonlySet<string> = new Set([
  ":status",
  "content-type",
  "date",
  "grpc-accept-encoding",
  "grpc-encoding",
  "grpc-message",
  "grpc-status",
]);

/** What of a header block is the application's. */
export function entriesOf(raw: HeaderList): MetadataEntries {
  let result: [string, string][] | undefined;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i] ?? "";
    if (protocolNames.has(name)) continue;
    result ??= [];
    const value = raw[i + 1] ?? "";
    if (name.endsWith("-bin") && value.includes(",")) {
      for (const item of value.split(",")) result.push([name, item.trim()]);
    } else {
      result.push([name, value]);
    }
  }
  return result ?? none;
}

/** The value of a header, which is the first one if there are several. */
export function valueOf(raw: HeaderList, name: string): string | undefined {
  for (let i = 0; i + 1 < raw.length; i += 2) if (raw[i] === name) return raw[i + 1];
  return undefined;
}

/**
 * The failure that a peer's status tells of; undefined for OK.
 *
 * @param headers what the answer began with, if that is not `raw`
 */
export function statusOf(
  raw: HeaderList,
  headers: MetadataEntries = none,
): CallFailure | undefined {
  const text = valueOf(raw, "grpc-status");
  if (text === "0") return undefined;
  const code = text !== undefined && /^[0-9]{1,2}$/.test(text) ? Number(text) : Code.Unknown;
  return new CallFailure(percentDecode(valueOf(raw, "grpc-message") ?? ""), {
    code: code <= codeMax ? code : Code.Unknown,
    headers,
    trailers: entriesOf(raw),
    mayHaveRun: true,
  });
}

/** The `google.rpc.Status` that came with a failure, if it did and can be read. */
export function detailedStatus(trailers: MetadataEntries): Status | undefined {
  const value = trailers.find(([name]) => name === detailsName)?.[1];
  if (value === undefined) return undefined;
  try {
    return fromBinary(StatusSchema, decodeBinary(detailsName, value));
  } catch {
    // Another server's mistake must not hide the code and message that it sent.
    return undefined;
  }
}

/** What `percentEncode` makes; bytes that are no UTF-8 become U+FFFD, other `%` stay. */
function percentDecode(text: string): string {
  if (!text.includes("%")) return text;
  const bytes: Buffer[] = [];
  for (const [part] of text.matchAll(/%[0-9A-Fa-f]{2}|[^%]+|%/g)) {
    const isByte = part.length === 3 && part.startsWith("%");
    bytes.push(isByte ? Buffer.from(part.slice(1), "hex") : Buffer.from(part, "latin1"));
  }
  return Buffer.concat(bytes).toString("utf8");
}
