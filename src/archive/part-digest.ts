import { createHash, type Hash, hash } from "node:crypto";

/**
 * The SHA-256 of a part, block by block. One that is a block is hashed without a hash that could go on: each of those
 * holds a kilobyte outside of the heap until it is collected, and an archive may have a million small contents.
 */
export class PartDigest {
  readonly #partBytes: number;
  #hash: Hash | undefined;
  #whole: Buffer | undefined;

  constructor(partBytes: number) {
    this.#partBytes = partBytes;
  }

  update(block: Uint8Array): void {
    if (this.#hash === undefined && this.#whole === undefined && block.length === this.#partBytes) {
      this.#whole = hash("sha256", block, "buffer");
      return;
    }
    this.#hash ??= createHash("sha256");
    this.#hash.update(block);
  }

  end(): Buffer {
    return this.#whole ?? this.#hash?.digest() ?? hash("sha256", new Uint8Array(0), "buffer");
  }
}
