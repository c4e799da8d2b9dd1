import { CollectorError } from "../errors.ts";
import type { TunnelFrame, TunnelMetadatum } from "../gen/collector/tunnel_pb.ts";

/** What happens in a frame, without the call that it belongs to. */
export type FrameBody = TunnelFrame["frame"];

/** Names and values in the order of the wire; values of names that end in `-bin` are base64. */
export type Entries = readonly (readonly [string, string])[];

/** What one side of a call may have under way to the other, in bytes as {@link costOf} counts them. */
export const windowBytes: number = 256 * 1024;

/** Longest piece of a message in one frame. */
export const partBytesMax: number = 64 * 1024;

/** What a frame of a message costs beside its bytes, so that empty messages are not free. */
const frameCost = 64;

/** What a frame with so many bytes of a message takes from the window. */
export function costOf(byteLength: number): number {
  return byteLength + frameCost;
}

/** How many bytes of a message fit into so much of a window; none if it is not positive. */
export function roomIn(credit: number): number {
  return credit - frameCost;
}

/** A frame that breaks the rules: whoever sent it cannot be understood any more, so the stream ends. */
export function tunnelFault(callId: bigint, problem: string): CollectorError {
  return new CollectorError("ARGUMENT_INVALID", `a frame of call ${callId}: ${problem}`);
}

/** Names that are gRPC's and HTTP's own. */
const protocolNames: ReadonlySet<string> = new Set([
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

const detailsName = "grpc-status-details-bin";

function isPassable(name: string): boolean {
  if (name.startsWith("grpc-")) return name === detailsName;
  return !name.startsWith(":") && !protocolNames.has(name);
}

/** What of some metadata goes over a tunnel: all but what belongs to the protocol. */
export function toMetadata(entries: Iterable<readonly [string, string]>): TunnelMetadatum[] {
  const result: TunnelMetadatum[] = [];
  for (const [name, value] of entries) {
    if (isPassable(name)) result.push({ $typeName: "collector.TunnelMetadatum", name, value });
  }
  return result;
}

/** What a pair costs beside its text, as HTTP/2 counts it. */
const pairCost = 32;

/**
 * Metadata that came over a tunnel.
 *
 * @throws {CollectorError} METADATA_INVALID if gRPC could not carry it on, or it is too much
 */
export function fromMetadata(metadata: readonly TunnelMetadatum[], bytesMax: number): Entries {
  const result: [string, string][] = [];
  let bytes = 0;
  for (const { name, value } of metadata) {
    bytes += name.length + value.length + pairCost;
    if (bytes > bytesMax) {
      throw invalid(`the metadata has more than ${bytesMax} bytes, the limit (headerBytesMax)`);
    }
    if (!isPassable(name)) continue;
    if (!/^[0-9a-z_.-]+$/.test(name)) {
      throw invalid(`${JSON.stringify(name)}: metadata names are made of 0-9 a-z _ . -`);
    }
    const isValid = name.endsWith("-bin") ? /^[A-Za-z0-9+/]*={0,2}$/ : /^[\x20-\x7e]*$/;
    if (!isValid.test(value)) throw invalid(`${name}: must be ${needOf(name)}`);
    result.push([name, value]);
  }
  return result;
}

function needOf(name: string): string {
  return name.endsWith("-bin") ? "base64" : "printable ASCII";
}

function invalid(message: string): CollectorError {
  return new CollectorError("METADATA_INVALID", message);
}
