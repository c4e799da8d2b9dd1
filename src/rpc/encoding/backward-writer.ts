/** What a writer starts with, and goes back to after a larger message. */
const initialBytes = 16 * 1024;

/** Strings up to here are copied character by character, which beats a call into the runtime. */
const shortChars = 64;

/**
 * Writes protobuf's wire format from the last byte to the first, so that the length of what is
 * nested is known when its prefix is due: one pass, no second buffer.
 */
export class BackwardWriter {
  #buffer: Buffer = Buffer.allocUnsafeSlow(initialBytes);
  #view = new DataView(this.#buffer.buffer);
  /** Bytes written so far; they are the last ones of the buffer. */
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** What was written, behind `headroom` bytes of no meaning; the writer is then empty. */
  finish(headroom: number): Buffer {
    const result = Buffer.allocUnsafe(headroom + this.#size);
    this.#buffer.copy(result, headroom, this.#buffer.length - this.#size);
    this.reset();
    return result;
  }

  /** Forgets what was written, as after a failure. */
  reset(): void {
    this.#size = 0;
    if (this.#buffer.length === initialBytes) return;
    this.#buffer = Buffer.allocUnsafeSlow(initialBytes);
    this.#view = new DataView(this.#buffer.buffer);
  }

  /** @param value from 0 to 2^53 - 1 */
  varint(value: number): void {
    if (value < 0x80) {
      const at = this.#take(1);
      this.#buffer[at] = value;
      return;
    }
    let length = 2;
    for (let rest = value / 0x4000; rest >= 1; rest /= 0x80) length += 1;
    let at = this.#take(length);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[at] = (rest % 0x80) | 0x80;
      at += 1;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[at] = rest;
  }

  /** @param value any of 64 bits; a negative one takes ten bytes */
  varint64(value: bigint): void {
    if (value >= 0n && value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.varint(Number(value));
      return;
    }
    let rest = BigInt.asUintN(64, value);
    let length = 1;
    for (let left = rest >> 7n; left > 0n; left >>= 7n) length += 1;
    let at = this.#take(length);
    for (; rest >= 0x80n; at += 1) {
      this.#buffer[at] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buffer[at] = Number(rest);
  }

  fixed32(value: number): void {
    const at = this.#take(4);
    this.#view.setInt32(at, value, true);
  }

  fixed64(value: bigint): void {
    const at = this.#take(8);
    this.#view.setBigInt64(at, value, true);
  }

  float(value: number): void {
    const at = this.#take(4);
    this.#view.setFloat32(at, value, true);
  }

  double(value: number): void {
    const at = this.#take(8);
    this.#view.setFloat64(at, value, true);
  }

  bytes(value: Uint8Array): void {
    const at = this.#take(value.byteLength);
    this.#buffer.set(value, at);
  }

  /** A lone surrogate becomes U+FFFD, as everywhere in the runtime. */
  string(value: string): void {
    const { length } = value;
    if (length <= shortChars && this.#ascii(value)) return;
    const byteLength = Buffer.byteLength(value);
    const at = this.#take(byteLength);
    this.#buffer.write(value, at, byteLength, "utf8");
  }

  /** Writes a short string if it is ASCII. */
  #ascii(value: string): boolean {
    const { length } = value;
    const at = this.#take(length);
    for (let index = 0; index < length; index += 1) {
      const char = value.charCodeAt(index);
      if (char >= 0x80) {
        this.#size -= length;
        return false;
      }
      this.#buffer[at + index] = char;
    }
    return true;
  }

  /** Makes room in front of what is written; answers where it begins. */
  #take(count: number): number {
    const size = this.#size + count;
    if (size > this.#buffer.length) this.#grow(size);
    this.#size = size;
    return this.#buffer.length - size;
  }

  #grow(size: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(size, this.#buffer.length * 2));
    this.#buffer.copy(larger, larger.length - this.#size, this.#buffer.length - this.#size);
    this.#buffer = larger;
    this.#view = new DataView(larger.buffer);
  }
}
