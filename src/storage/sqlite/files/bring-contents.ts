import { CollectorError } from "../../../errors.ts";
import type { StoredFile } from "../../store-files.ts";
import { translateError } from "../translate-error.ts";
import type { ContentFolder } from "./content-folder.ts";

export interface BringContentsOptions {
  readonly content: ContentFolder;
  /** Whose contents are wanted. */
  readonly files: readonly StoredFile[];
  /** Where content that is not there yet is; undefined: nowhere. */
  readonly contentOf: (sha256: string) => string | undefined;
  /** Takes what keeps the contents from being removed. */
  readonly pins: DisposableStack;
  readonly signal: AbortSignal;
}

/** Contents that are put on disk at a time. */
const bringAtOnce = 8;

/**
 * Sees to it that a store has the contents of all these files, durably.
 *
 * @throws {CollectorError} CONTENT_MISMATCH if content is nowhere, or has another size, or if two files have the
 * same name; DISK_FULL; what the signal fires with
 */
export async function bringContents(options: BringContentsOptions): Promise<void> {
  const { content, pins, signal } = options;
  const wanted = sizesOf(options.files);
  for (const sha256 of wanted.keys()) pins.use(content.pin(sha256));
  const queue = wanted.entries();
  const work = async (): Promise<void> => {
    for (const [sha256, sizeBytes] of queue) {
      signal.throwIfAborted();
      await bringOne(options, sha256, sizeBytes);
    }
  };
  try {
    // All of them have stopped when this throws: the pins are let go of after it.
    const ends = await Promise.allSettled(Array.from({ length: bringAtOnce }, work));
    for (const end of ends) if (end.status === "rejected") throw end.reason;
    // Also for what was there: who has put it there may not have come to this yet.
    for (const prefix of new Set([...wanted.keys()].map((sha256) => sha256.slice(0, 2)))) {
      await content.syncFolder(prefix);
    }
  } catch (error) {
    throw translateError(error);
  }
}

async function bringOne(
  { content, contentOf }: BringContentsOptions,
  sha256: string,
  sizeBytes: bigint,
): Promise<void> {
  if (await content.has(sha256, sizeBytes)) return;
  const path = contentOf(sha256);
  if (path !== undefined && (await content.bring(path, sha256, sizeBytes))) return;
  throw mismatch("content of a file is missing, or has another size");
}

function sizesOf(files: readonly StoredFile[]): ReadonlyMap<string, bigint> {
  const sizes = new Map<string, bigint>();
  const names = new Set<string>();
  for (const { owner, name, sha256, sizeBytes } of files) {
    const known = sizes.get(sha256) ?? sizeBytes;
    if (known !== sizeBytes) throw mismatch("content is named with two sizes");
    sizes.set(sha256, sizeBytes);
    names.add(JSON.stringify([owner, name]));
  }
  if (names.size < files.length) throw mismatch("two files have the same name");
  return sizes;
}

function mismatch(message: string): CollectorError {
  return new CollectorError("CONTENT_MISMATCH", message);
}
