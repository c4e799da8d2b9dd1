import { errorCode, frameHeadBytes, ProtocolError } from "./frames.ts";
import { type DecodedHeaders, HeaderDecoder } from "./header-decoder.ts";

/** A header block of a peer, as it comes: packed, and so it may become larger than this. */
const blockBytesMax = 64 * 1024;

/** A whole header block. */
export interface WholeBlock {
  readonly streamId: number;
  readonly headers: DecodedHeaders;
  /** Whether it ends its stream. */
  readonly isLast: boolean;
}

interface OpenBlock {
  readonly streamId: number;
  readonly isLast: boolean;
  readonly parts: Buffer[];
  bytes: number;
}

/** Puts the header blocks of one connection together out of their frames, and reads them. */
export class HeaderBlocks {
  readonly #decoder: HeaderDecoder;
  #open: OpenBlock | undefined;

  /** @param headerBytesMax names, values and 32 bytes for each header */
  constructor(headerBytesMax: number) {
    this.#decoder = new HeaderDecoder(headerBytesMax);
  }

  /** Whether a block has begun and is not whole. */
  get isInside(): boolean {
    return this.#open !== undefined;
  }

  /**
   * A frame of headers.
   *
   * @returns the block if that is all of it
   * @throws {HeaderBlockError}
   */
  begin(
    streamId: number,
    bytes: Buffer,
    { isLast, isWhole }: { readonly isLast: boolean; readonly isWhole: boolean },
  ): WholeBlock | undefined {
    if (isWhole) return { streamId, headers: this.#decoder.decode(bytes), isLast };
    this.#open = { streamId, isLast, parts: [Buffer.from(bytes)], bytes: bytes.byteLength };
    return undefined;
  }

  /**
   * A frame that goes on.
   *
   * @returns the block if it is whole now
   * @throws {ProtocolError} if it belongs to no block, or makes one too large
   * @throws {HeaderBlockError}
   */
  continue(streamId: number, bytes: Buffer, isWhole: boolean): WholeBlock | undefined {
    const open = this.#open;
    if (open === undefined || open.streamId !== streamId) {
      throw new ProtocolError("a CONTINUATION of nothing");
    }
    // Even an empty one counts, or they could go on for ever.
    open.bytes += bytes.byteLength + frameHeadBytes;
    if (open.bytes > blockBytesMax) {
      throw new ProtocolError("a header block that is too large", errorCode.enhanceYourCalm);
    }
    open.parts.push(Buffer.from(bytes));
    if (!isWhole) return undefined;
    this.#open = undefined;
    const { isLast } = open;
    return { streamId, headers: this.#decoder.decode(Buffer.concat(open.parts)), isLast };
  }
}
