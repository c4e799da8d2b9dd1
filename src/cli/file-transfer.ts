import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { openSink, type SinkTarget } from "../client/open-sink.ts";
import { contentOut, pipeName } from "./archive-pipe.ts";
import type { CliEnvironment } from "./context.ts";
import { unreadable, writable } from "./file-failure.ts";

/** Content that is to be sent. */
export interface LocalContent {
  readonly chunks: AsyncIterable<Uint8Array>;
  /** Undefined if it is only known at the end. */
  readonly sizeBytes: number | undefined;
}

const readBytes = 256 * 1024;

/** What is smaller waits for more, so that what comes line by line is not written so. */
const blockBytes = 256 * 1024;

/** Opens a file, or stdin for `-`. @throws {CliError} FILE_UNREADABLE */
export async function readLocal(path: string, stdin: NodeJS.ReadStream): Promise<LocalContent> {
  if (path === pipeName) return { chunks: stdin, sizeBytes: undefined };
  try {
    const found = await stat(path);
    if (found.isDirectory()) throw Object.assign(new Error(), { code: "EISDIR" });
    const chunks = createReadStream(path, { highWaterMark: readBytes });
    return { chunks, sizeBytes: found.isFile() ? found.size : undefined };
  } catch (error) {
    throw unreadable(path, error);
  }
}

/**
 * Writes content to a file, or to stdout for `-`. A file appears under its name when it is complete.
 *
 * @throws {CliError} FILE_UNWRITABLE, OUTPUT_CLOSED; what `chunks` throws
 */
export async function writeLocal(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
  environment: CliEnvironment,
): Promise<void> {
  const target = path === pipeName ? contentOut(environment) : path;
  await writable(path, toSink(target, chunks, environment.signal));
}

async function toSink(
  target: SinkTarget,
  chunks: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const sink = await openSink(target, signal);
  try {
    for await (const block of inBlocks(chunks)) await sink.write(block);
    await sink.finish();
  } catch (error) {
    await sink.discard();
    throw error;
  }
}

async function* inBlocks(chunks: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    waiting.push(chunk);
    bytes += chunk.byteLength;
    if (bytes < blockBytes) continue;
    yield joined(waiting);
    waiting = [];
    bytes = 0;
  }
  if (bytes > 0) yield joined(waiting);
}

function joined(chunks: readonly Uint8Array[]): Uint8Array {
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks);
}
