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

/** How many written bytes may wait to be synced: no other writer's sync waits for more of them. */
const unsyncedBytesMax = 4 * 1024 * 1024;

/**
 * A new file, written from a thread that may wait. What is written is synced as it grows, so that
 * the disk never owes much.
 */
export class PacedFile implements Disposable {
  readonly path: string;
  readonly #fd: number;
  #unsyncedBytes = 0;
  #isOpen = true;

  private constructor(path: string, fd: number) {
    this.path = path;
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
      this.#unsyncedBytes += piece.length;
      // Of what the call took, nothing is left to do; it may have taken a part.
      let done = Math.min(written, piece.length);
      written -= done;
      while (done < piece.length) done += writeSync(this.#fd, piece, done, piece.length - done);
    }
    if (this.#unsyncedBytes < unsyncedBytesMax) return;
    fdatasyncSync(this.#fd);
    this.#unsyncedBytes = 0;
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
    rmSync(this.path, { force: true });
  }
}
