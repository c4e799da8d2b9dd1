import type { HeaderList } from "../grpc/server-stream.ts";
import { decodeHuffman } from "./huffman.ts";
import { headerOverheadBytes, staticHeaders, tableBytesDefault } from "./static-headers.ts";

/** A header block after which the two ends no longer agree on the table. */
export class HeaderBlockError extends Error {
  override readonly name = "HeaderBlockError";
}

/** A header block. */
export interface DecodedHeaders {
  readonly list: HeaderList;
  /** Why it is of no use, although the table is as it should be. */
  readonly problem: "malformed" | "too large" | undefined;
}

interface Header {
  readonly name: string;
  readonly value: string;
  /** Whether it is made of what names and values may be made of. */
  readonly isValid: boolean;
}

const fixedHeaders: readonly Header[] = staticHeaders.map(([name, value]) => ({
  name,
  value,
  isValid: true,
}));

const namePattern = /^:?[!#$%&'*+\-.^_`|~0-9a-z]+$/;
const valuePattern = /^[\t\x20-\x7e\x80-\xff]*$/;

/** Reads the header blocks of one connection, in the order in which they come (RFC 7541). */
export class HeaderDecoder {
  readonly #listBytesMax: number;
  /** The newest first. */
  #table: Header[] = [];
  #tableBytes = 0;
  #tableBytesMax = tableBytesDefault;
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;

  /** @param listBytesMax names, values and 32 bytes for each header */
  constructor(listBytesMax: number) {
    this.#listBytesMax = listBytesMax;
  }

  /** @throws {HeaderBlockError} */
  decode(block: Buffer): DecodedHeaders {
    this.#bytes = block;
    this.#at = 0;
    const list: string[] = [];
    let listBytes = 0;
    let problem: DecodedHeaders["problem"];
    while (this.#at < block.byteLength) {
      const first = block[this.#at] ?? 0;
      if ((first & 0xe0) === 0x20) {
        if (listBytes > 0) throw new HeaderBlockError("a table is resized behind headers");
        this.#resize(this.#readInteger(5));
        continue;
      }
      const { name, value, isValid } = this.#readHeader(first);
      listBytes += sizeOf(name, value);
      if (listBytes > this.#listBytesMax) problem = "too large";
      else list.push(name, value);
      if (!isValid) problem ??= "malformed";
    }
    return { list, problem };
  }

  #readHeader(first: number): Header {
    if (first >= 0x80) return this.#entry(this.#readInteger(7));
    const isKept = first >= 0x40;
    const index = this.#readInteger(isKept ? 6 : 4);
    const name = index === 0 ? this.#readString() : this.#entry(index).name;
    const value = this.#readString();
    const header = { name, value, isValid: namePattern.test(name) && valuePattern.test(value) };
    if (isKept) this.#keep(header);
    return header;
  }

  #entry(index: number): Header {
    const fixed = fixedHeaders[index - 1];
    if (fixed !== undefined) return fixed;
    const entry = this.#table[index - 1 - staticHeaders.length];
    if (entry === undefined) throw new HeaderBlockError(`the table has no header ${index}`);
    return entry;
  }

  #keep(header: Header): void {
    this.#table.unshift(header);
    this.#tableBytes += sizeOf(header.name, header.value);
    this.#evict();
  }

  #resize(bytes: number): void {
    if (bytes > tableBytesDefault) throw new HeaderBlockError(`a table of ${bytes} bytes`);
    this.#tableBytesMax = bytes;
    this.#evict();
  }

  #evict(): void {
    while (this.#tableBytes > this.#tableBytesMax) {
      const last = this.#table.pop();
      if (last === undefined) return;
      this.#tableBytes -= sizeOf(last.name, last.value);
    }
  }

  /** An integer whose first bits are the last of a byte (section 5.1). */
  #readInteger(prefixBits: number): number {
    const max = (1 << prefixBits) - 1;
    let value = this.#readByte() & max;
    if (value < max) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      const byte = this.#readByte();
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HeaderBlockError("an integer of more than four bytes");
  }

  #readString(): string {
    const isPacked = (this.#bytes[this.#at] ?? 0) >= 0x80;
    const length = this.#readInteger(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#bytes.byteLength) throw new HeaderBlockError("a string is cut");
    this.#at = end;
    if (!isPacked) return this.#bytes.toString("latin1", start, end);
    const text = decodeHuffman(this.#bytes, start, end);
    if (text === undefined) throw new HeaderBlockError("a string is packed in another way");
    return text;
  }

  #readByte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw new HeaderBlockError("a header is cut");
    this.#at += 1;
    return byte;
  }
}

function sizeOf(name: string, value: string): number {
  return name.length + value.length + headerOverheadBytes;
}
