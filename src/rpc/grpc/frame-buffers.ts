/** Buffers are made in steps of so many bytes, so that they fit the next frame too. */
const stepBytes = 64 * 1024;

/** Buffers that wait to be used again. */
const freeMax = 3;

/** The memory for the large messages of one stream. What is given back is used for the next ones. */
export class FrameBuffers {
  readonly #free: Buffer[] = [];

  /** Whether there is memory for so many bytes that was given back. */
  has(bytes: number): boolean {
    return this.#free.some((buffer) => buffer.byteLength >= bytes);
  }

  /** At least so many bytes, of any content. */
  take(bytes: number): Buffer {
    const at = this.#free.findIndex((buffer) => buffer.byteLength >= bytes);
    if (at < 0) return Buffer.allocUnsafeSlow(Math.ceil(bytes / stepBytes) * stepBytes);
    const [buffer] = this.#free.splice(at, 1);
    return buffer ?? Buffer.allocUnsafeSlow(bytes);
  }

  /** Nobody reads it any more. */
  giveBack(buffer: Buffer): void {
    if (this.#free.length < freeMax) this.#free.push(buffer);
  }
}
