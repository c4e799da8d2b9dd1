import type { HeaderList } from "../grpc/server-stream.ts";
import { staticHeaders } from "./static-headers.ts";

const staticNames = new Map<string, number>();
const staticPairs = new Map<string, number>();
for (const [at, [name, value]] of staticHeaders.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, at + 1);
  if (value !== "") staticPairs.set(keyOf(name, value), at + 1);
}

/** A literal: whether the peer keeps it, or must keep it nowhere. */
export const literal = { kept: 0x40, plain: 0x00, secret: 0x10 } as const;

/** What a block begins with to say that the table has 0 bytes from here on. */
export const dropTable: Buffer = Buffer.from([0x20]);

/** The bytes of one block; strings are not packed. */
export class BlockWriter {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytesMax: number) {
    this.#bytes = Buffer.allocUnsafe(bytesMax);
  }

  done(): Buffer {
    return this.#bytes.subarray(0, this.#at);
  }

  copy(bytes: Buffer): void {
    this.#bytes.set(bytes, this.#at);
    this.#at += bytes.byteLength;
  }

  index(index: number): void {
    this.#integer(0x80, 7, index);
  }

  header(kind: number, name: string, value: string): void {
    const index = staticNames.get(name) ?? 0;
    this.#integer(kind, kind === literal.kept ? 6 : 4, index);
    if (index === 0) this.#string(name);
    this.#string(value);
  }

  #string(text: string): void {
    this.#integer(0, 7, text.length);
    this.#at += this.#bytes.write(text, this.#at, "latin1");
  }

  #integer(flags: number, prefixBits: number, value: number): void {
    const max = (1 << prefixBits) - 1;
    if (value < max) {
      this.#bytes[this.#at++] = flags | value;
      return;
    }
    this.#bytes[this.#at++] = flags | max;
    let rest = value - max;
    while (rest >= 0x80) {
      this.#bytes[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#at++] = rest;
  }
}

/** The most that a list can take. */
export function blockBytesOf(list: HeaderList): number {
  let bytes = 0;
  for (const text of list) bytes += text.length + 6;
  return bytes;
}

/** The number of a header that every table has, if it is one. */
export function staticIndexOf(name: string, value: string): number | undefined {
  return staticPairs.get(keyOf(name, value));
}

function keyOf(name: string, value: string): string {
  return `${name}\n${value}`;
}
