import {
  closeSync,
  constants,
  fdatasyncSync,
  fsyncSync,
  openSync,
  rmSync,
  writeSync,
  writevSync,
} from "node:fs";

/** How long written bytes wait before they are synced: no other writer's fsync waits for many of them. */
const syncEveryMs = 20;

/**
 * A new file, written from a thread that may wait. What is written is synced as it grows, so that
 * the disk never owes much.
 */
export class PacedFile implements Disposable {
  readonly #path: string;
  readonly #fd: number;
  #syncedAtMs: number = performance.now();
  #isOpen = true;

  private constructor(path: string, fd: number) {
    this.#path = path;
    this.#fd = fd;
  }

  /** @throws EEXIST if something is at the path. */
  static create(path: string): PacedFile {
    const { O_CREAT, O_EXCL, O_WRONLY, O_NOFOLLOW } = constants;
    return new PacedFile(path, openSync(path, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW, 0o600));
  }

  write(pieces: readonly Uint8Array[]): void {
    let written = writevSync(this.#fd, pieces);
    for (const piece of pieces) {
      // Of what the call took, nothing is left to do; it may have taken a part.
      let done = Math.min(written, piece.length);
      written -= done;
      while (done < piece.length) done += writeSync(this.#fd, piece, done, piece.length - done);
    }
    const nowMs = performance.now();
    if (nowMs - this.#syncedAtMs < syncEveryMs) return;
    fdatasyncSync(this.#fd);
    this.#syncedAtMs = performance.now();
  }

  sync(): void {
    fsyncSync(this.#fd);
  }

  [Symbol.dispose](): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    closeSync(this.#fd);
  }

  /** Closes the file and takes it away. */
  remove(): void {
    this[Symbol.dispose]();
    rmSync(this.#path, { force: true });
  }
}
