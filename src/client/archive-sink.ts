import { randomBytes } from "node:crypto";
import { type FileHandle, open, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";

/** Where the bytes of an archive go that comes: the path of a file, or what takes them, one piece after the other. */
export type ArchiveOutput = string | ((bytes: Uint8Array) => Promise<void>);

/** Takes an archive piece by piece. */
export interface ArchiveSink {
  write(bytes: Uint8Array): Promise<void>;
  /** It is whole. */
  finish(): Promise<void>;
  /** It will not be. */
  discard(): Promise<void>;
}

export async function openSink(output: ArchiveOutput): Promise<ArchiveSink> {
  if (typeof output !== "string") return new PipeSink(output);
  const there = await stat(output).catch(() => undefined);
  if (there === undefined) return await FileSink.open(output);
  // A link stays, and so does what is no file: a device or a named pipe is written to.
  if (there.isFile()) return await FileSink.open(await realpath(output));
  return new OpenSink(await open(output, "w"));
}

/** A file that appears under its name when it is complete and on the disk. */
class FileSink implements ArchiveSink {
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
    await this.#file.writev([bytes], this.#written);
    this.#written += bytes.byteLength;
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
class OpenSink implements ArchiveSink {
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

/** What has gone through a pipe cannot be taken back. */
class PipeSink implements ArchiveSink {
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
