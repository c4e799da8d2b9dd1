import { randomBytes } from "node:crypto";
import { type FileHandle, open, readlink, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { NamedPipeSink } from "./named-pipe.ts";
import type { Sink } from "./sink.ts";

/** Where bytes go that come: the path of a file, or what takes them, one piece after the other. */
export type SinkTarget = string | ((bytes: Uint8Array) => Promise<void>);

/**
 * A file appears under its name when it is whole. Links stay, and so does what is no file: devices and named pipes
 * are written to.
 *
 * @param signal ends the waiting for whoever reads a named pipe
 * @throws errors of the file system
 */
export async function openSink(target: SinkTarget, signal?: AbortSignal): Promise<Sink> {
  if (typeof target !== "string") return new FunctionSink(target);
  const there = await ifThere(stat(target));
  if (there === undefined) return await FileSink.open(await behindLinks(target));
  if (there.isFile()) return await FileSink.open(await realpath(target));
  if (there.isFIFO()) return await NamedPipeSink.open(target, signal);
  return new DeviceSink(await open(target, "w"));
}

/** The path of the file that writing to this one would make. */
async function behindLinks(path: string): Promise<string> {
  const next = await readlink(path).catch(() => undefined);
  return next === undefined ? path : await behindLinks(resolve(dirname(path), next));
}

async function ifThere<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** A file that appears under its name when it is complete and on the disk. */
class FileSink implements Sink {
  readonly #file: FileHandle;
  readonly #path: string;
  readonly #partial: string;
  #written = 0;

  private constructor(file: FileHandle, path: string, partial: string) {
    this.#file = file;
    this.#path = path;
    this.#partial = partial;
  }

  static async open(path: string): Promise<FileSink> {
    // Of its own: another may be on its way to the same path.
    const partial = `${path}.${randomBytes(6).toString("hex")}.part`;
    return new FileSink(await open(partial, "wx"), path, partial);
  }

  async write(bytes: Uint8Array): Promise<void> {
    // A disk that is nearly full takes what it has room for, and fails only then.
    for (let at = 0; at < bytes.byteLength; ) {
      const left = bytes.byteLength - at;
      const { bytesWritten } = await this.#file.write(bytes, at, left, this.#written);
      at += bytesWritten;
      this.#written += bytesWritten;
    }
  }

  async finish(): Promise<void> {
    await this.#file.sync();
    await this.#file.close();
    await rename(this.#partial, this.#path);
    await syncFolder(dirname(this.#path));
  }

  async discard(): Promise<void> {
    await this.#file.close();
    await rm(this.#partial, { force: true });
  }
}

/** What has a name already, and is no file. */
class DeviceSink implements Sink {
  readonly #file: FileHandle;

  constructor(file: FileHandle) {
    this.#file = file;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await this.#file.writeFile(bytes);
  }

  async finish(): Promise<void> {
    await this.#file.close();
  }

  async discard(): Promise<void> {
    await this.#file.close();
  }
}

/** What was handed on cannot be taken back. */
class FunctionSink implements Sink {
  readonly write: (bytes: Uint8Array) => Promise<void>;

  constructor(write: (bytes: Uint8Array) => Promise<void>) {
    this.write = write;
  }

  async finish(): Promise<void> {}

  async discard(): Promise<void> {}
}

/** Makes a rename last. Folders cannot be opened everywhere; there a rename lasts by itself. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  await using folder = await open(path, "r");
  await folder.sync();
}
