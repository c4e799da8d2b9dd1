/** Index of the first entry of HPACK's dynamic table; the newest entry has it. */
const firstDynamic = 62;

/**
 * Encodes request headers as a client that sends the same ones again and again does (RFC 7541): the
 * first time in full and into the server's table, from then on as one byte each.
 *
 * Holds for one connection. The entries of all calls together must fit the table of 4,096 bytes.
 */
export class HeaderBlocks {
  readonly #entries: string[] = [];
  readonly #blocks = new Map<string, { readonly block: Buffer; readonly entries: number }>();

  /** The header block of a gRPC call of `path`; `authority` as in `127.0.0.1:50051`. */
  of(path: string, authority: string): Buffer {
    const known = this.#blocks.get(path);
    // Every entry added since moves the others on by one.
    if (known !== undefined && known.entries === this.#entries.length) return known.block;
    const before = this.#entries.length;
    const block = Buffer.concat([
      // Static table: `:method: POST`, `:scheme: http`.
      Buffer.of(0x83, 0x86),
      this.#field(":path", path),
      this.#field(":authority", authority),
      this.#field("content-type", "application/grpc"),
      this.#field("te", "trailers"),
    ]);
    if (this.#entries.length === before) this.#blocks.set(path, { block, entries: before });
    return block;
  }

  #field(name: string, value: string): Buffer {
    const entry = `${name}: ${value}`;
    const position = this.#entries.lastIndexOf(entry);
    if (position >= 0) {
      const index = firstDynamic + this.#entries.length - 1 - position;
      if (index >= 127) throw new RangeError("too many different headers on one connection");
      return Buffer.of(0x80 | index);
    }
    this.#entries.push(entry);
    return Buffer.concat([Buffer.of(0x40), text(name), text(value)]);
  }
}

/** A string literal without Huffman coding. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, "latin1");
  if (bytes.length >= 127) throw new RangeError(`${value} is too long for a one-byte length`);
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}
