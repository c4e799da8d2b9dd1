import { fstatSync, writeSync } from "node:fs";
import { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { CliError, codeOf } from "./failure.ts";
import { unwritable } from "./file-failure.ts";

/** Where a command writes its data. */
export type StdoutStream = NodeJS.WritableStream & { readonly isTTY?: boolean };

export interface StdoutOptions {
  /** A reader has seen enough, as in `collector record list | head`. */
  readonly onEnough: () => void;
  /** What is written does not arrive. */
  readonly onFailure: (failure: CliError) => void;
}

/** The stdout of this process, and whether what was written to it has arrived. */
export class Stdout {
  readonly stream: StdoutStream & Writable;
  #needsAll = false;
  #failure: CliError | undefined;

  constructor({ onEnough, onFailure }: StdoutOptions) {
    const { stdout } = process;
    this.stream = fstatSync(stdout.fd).isFile() ? new FileStream(stdout.fd) : stdout;
    this.stream.on("error", (error) => {
      if (codeOf(error) === "EPIPE" && !this.#needsAll) {
        onEnough();
        return;
      }
      if (this.#failure !== undefined) return;
      this.#failure = notWritten(error);
      onFailure(this.#failure);
    });
  }

  /** From now on a reader that goes before the end is a failure. */
  needAll(): void {
    this.#needsAll = true;
  }

  /** Resolves when all that was written has arrived. @throws {CliError} OUTPUT_CLOSED, FILE_UNWRITABLE */
  async settle(): Promise<void> {
    if (this.stream.writableLength > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.stream.write("", () => resolve());
      await promise;
    }
    // What failed at once is told of a little later.
    await setImmediate();
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/** A file that is written whole: Node's own stdout takes it for all if a disk has room for a part. */
class FileStream extends Writable {
  readonly #fd: number;

  constructor(fd: number) {
    super({ decodeStrings: true });
    this.#fd = fd;
  }

  override _write(bytes: Buffer, _encoding: string, callback: (error?: Error) => void): void {
    try {
      for (let at = 0; at < bytes.byteLength; ) at += writeSync(this.#fd, bytes, at);
    } catch (error) {
      callback(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    callback();
  }
}

/** Why something is not on stdout. */
export function notWritten(error: unknown): CliError {
  if (codeOf(error) !== "EPIPE") return unwritable("stdout", error);
  const message = "stdout is not all written: whoever reads it has gone";
  return new CliError("OUTPUT_CLOSED", message, { cause: error });
}
