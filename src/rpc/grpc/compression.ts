import { promisify } from "node:util";
import { constants, gunzip, gunzipSync, gzip } from "node:zlib";
import { CollectorError } from "../../errors.ts";
import { messageTooLarge } from "./frame.ts";

/** How messages of one direction of a call may be packed. */
export type MessageEncoding = "identity" | "gzip";

/** Value of `grpc-accept-encoding`: what this server can read. */
export const acceptedEncodings = "identity,gzip";

/**
 * Answers below this size are sent as they are: they fit in one packet either way, and to pack
 * 1 KiB costs 65 µs of CPU, twice what a whole unary call does.
 */
export const compressBytesMin = 1024;

/**
 * Packed messages up to this size are unpacked on the event loop. Deflate expands at most 1032
 * times, so that is 0.5 MiB and about a millisecond at worst; larger ones go to the thread pool.
 */
const unpackInlineBytesMax = 512;

const gunzipAsync = promisify(gunzip);
const gzipAsync = promisify(gzip);

/**
 * Unpacks one message. What comes out is never larger than `messageBytesMax`, whatever the input
 * claims: inflation stops there.
 *
 * @throws {CollectorError} MESSAGE_TOO_LARGE; ARGUMENT_INVALID if the bytes are no gzip
 */
export async function unpack(payload: Uint8Array, messageBytesMax: number): Promise<Uint8Array> {
  // A limit of zero bytes would be read as none.
  const options = { maxOutputLength: Math.max(1, messageBytesMax) };
  try {
    if (payload.byteLength <= unpackInlineBytesMax) return gunzipSync(payload, options);
    return await gunzipAsync(payload, options);
  } catch (error) {
    if (error instanceof RangeError) throw messageTooLarge(undefined, messageBytesMax);
    throw new CollectorError("ARGUMENT_INVALID", "the message is not valid gzip", { cause: error });
  }
}

/**
 * Packs one message, or returns undefined where that does not pay: too small, or no smaller packed.
 * Runs in the thread pool at level 1: for 64 KiB of records it takes half the CPU of the default,
 * level 6, and comes out a tenth larger.
 */
export async function pack(payload: Uint8Array): Promise<Uint8Array | undefined> {
  if (payload.byteLength < compressBytesMin) return undefined;
  const packed = await gzipAsync(payload, { level: constants.Z_BEST_SPEED });
  return packed.byteLength < payload.byteLength ? packed : undefined;
}
