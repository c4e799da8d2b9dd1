import { isUtf8 } from "node:buffer";

/** Deepest nesting of messages and groups, as in protobuf-es. */
export const messageDepthMax = 100;

export const wireTypes = {
  varint: 0,
  bit64: 1,
  lengthDelimited: 2,
  startGroup: 3,
  endGroup: 4,
  bit32: 5,
} as const;

/** Strings up to this many bytes are read with one look at each byte, longer ones natively. */
const scannedBytesMax = 64;

/** What a byte means for a string that holds it; the bits of a string are or-ed together. */
const escaped = 1;
const notAscii = 2;
const byteClasses = Uint8Array.from({ length: 256 }, (_, byte) => {
  if (byte >= 0x80) return notAscii;
  return byte < 0x20 || byte === 0x22 || byte === 0x5c || byte === 0x7f ? escaped : 0;
});

/** Bytes that are not the wire form of the message they should be. */
export class WireError extends Error {
  override readonly name = "WireError";
}

/**
 * A cursor over wire bytes. It accepts exactly what protobuf-es accepts: a varint of up to ten
 * bytes for any integer, a known field under a wire type that is not its own, a nested message whose
 * last field runs over its end. The last two are noted in {@link irregular}.
 *
 * Fields are public because the closures of a message plan are its other half.
 */
export class WireReader {
  readonly buf: Buffer;
  pos = 0;
  /** Nothing is read at or after this offset. */
  len: number;
  depth = 0;
  /** True once something was read that a strict parser reads otherwise. */
  irregular = false;
  /** Name of the field that is being read. */
  fieldName = "";
  /** Names of the messages around it, outermost first. */
  readonly path: string[] = [];
  /** High half of the last 64-bit value, signed. */
  hi = 0;
  /** True if the last string needs escapes in JSON. */
  needsEscape = false;
  #latin1: string | undefined;

  constructor(bytes: Uint8Array) {
    this.buf = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.len = bytes.byteLength;
  }

  /** The low 32 bits of a varint, unsigned. */
  uint32(): number {
    const first = this.buf[this.pos];
    if (first !== undefined && first < 0x80 && this.pos < this.len) {
      this.pos += 1;
      return first;
    }
    const low = this.int64Low();
    return low >>> 0;
  }

  /** A varint's low 32 bits, signed; leaves its high 32 bits in {@link hi}. */
  int64Low(): number {
    const { buf, len } = this;
    let { pos } = this;
    let low = 0;
    let high = 0;
    let shift = 0;
    for (;;) {
      if (pos >= len) throw new WireError("a number ends beyond the bytes");
      const byte = buf[pos] ?? 0;
      pos += 1;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high = bits >> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) break;
      shift += 7;
      if (shift === 70) throw new WireError("a number has more than ten bytes");
    }
    this.pos = pos;
    this.hi = high;
    return low;
  }

  /** A checked tag: field number times eight plus wire type. */
  tag(): number {
    const start = this.pos;
    const tag = this.uint32();
    const size = this.pos - start;
    if (size > 5 || (size === 5 && (this.buf[this.pos - 1] ?? 0) > 0x0f)) {
      throw new WireError("a field number is over 536870911");
    }
    if (tag < 8) throw new WireError("a field has number 0");
    if ((tag & 7) > wireTypes.bit32) throw new WireError(`wire type ${tag & 7} does not exist`);
    return tag;
  }

  bool(): boolean {
    const low = this.int64Low();
    return low !== 0 || this.hi !== 0;
  }

  /** Four bytes, signed. */
  bit32(): number {
    const start = this.#take(4);
    return this.buf.readInt32LE(start);
  }

  /** Eight bytes: answers the low half, signed, and leaves the high half in {@link hi}. */
  bit64(): number {
    const start = this.#take(8);
    this.hi = this.buf.readInt32LE(start + 4);
    return this.buf.readInt32LE(start);
  }

  float(): number {
    return this.buf.readFloatLE(this.#take(4));
  }

  double(): number {
    return this.buf.readDoubleLE(this.#take(8));
  }

  /** A view of the bytes read. */
  bytes(): Buffer {
    const size = this.uint32();
    const start = this.#take(size);
    return this.buf.subarray(start, start + size);
  }

  /** @param strict refuses what is not UTF-8; otherwise it is read as U+FFFD. */
  string(strict: boolean): string {
    const size = this.uint32();
    const start = this.#take(size);
    const end = start + size;
    if (size <= scannedBytesMax) {
      const { buf } = this;
      let classes = 0;
      for (let index = start; index < end; index += 1) {
        classes |= byteClasses[buf[index] ?? 0] ?? 0;
      }
      if (classes < notAscii) {
        this.needsEscape = classes !== 0;
        this.#latin1 ??= buf.toString("latin1");
        return this.#latin1.substring(start, end);
      }
    }
    this.needsEscape = true;
    const text = this.buf.toString("utf8", start, end);
    if (strict && text.includes("\ufffd") && !isUtf8(this.buf.subarray(start, end))) {
      throw new WireError("a string is not UTF-8");
    }
    return text;
  }

  /** Passes over the value of a field that has no descriptor. */
  skip(tag: number, depthLeft: number): void {
    switch (tag & 7) {
      case wireTypes.varint:
        // Without a bound on its length, as in protobuf-es.
        while (this.pos < this.len && (this.buf[this.pos] ?? 0) >= 0x80) this.pos += 1;
        this.#take(1);
        return;
      case wireTypes.bit64:
        this.#take(8);
        return;
      case wireTypes.lengthDelimited:
        this.#take(this.uint32());
        return;
      case wireTypes.startGroup:
        this.#skipGroup(tag, depthLeft);
        return;
      case wireTypes.bit32:
        this.#take(4);
        return;
      default:
        throw new WireError("a group ends that has not begun");
    }
  }

  #skipGroup(startTag: number, depthLeft: number): void {
    if (depthLeft <= 0) throw tooDeep();
    for (;;) {
      const tag = this.tag();
      if ((tag & 7) === wireTypes.endGroup) {
        if (tag >>> 3 !== startTag >>> 3) throw new WireError("a group ends that has not begun");
        return;
      }
      this.skip(tag, depthLeft - 1);
    }
  }

  /** Moves over `size` bytes; answers where they start. */
  #take(size: number): number {
    const start = this.pos;
    if (start + size > this.len) throw new WireError("a value ends beyond the bytes");
    this.pos = start + size;
    return start;
  }
}

export function tooDeep(): WireError {
  return new WireError(`messages are nested deeper than ${messageDepthMax}`);
}
