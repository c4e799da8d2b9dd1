import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import {
  ListSharedRegistrationsRequestSchema,
  ListSharedRegistrationsResponseSchema,
  ReadSharedFilesRequestSchema,
  ReadSharedFilesResponseSchema,
} from "../../gen/collector/sharing_pb.ts";
import type { SharedEntry } from "../../registry/exchange.ts";
import type { Channel } from "../channel.ts";
import { readEntry } from "./wire.ts";

/** Registrations of a namespace that another collector may tell of. */
const entriesMax = 50_000;

/** The bytes of that. */
const indexBytesMax = 16 * 1024 * 1024;

/** What is read in one go of versions that are not the newest of their files. */
const historyBytesMax = 8 * 1024 * 1024;

/** How long one question may take. */
const questionMs = 30_000;

/** A version of a file, by its hash. */
export interface WantedVersion {
  readonly name: string;
  readonly hash: string;
}

/** The bytes of a descriptor, and where it was registered. */
export interface ReadVersion {
  readonly source: Uint8Array;
  readonly origin: string;
}

export interface PeerRegistrationsOptions {
  readonly channel: Channel;
  /** Id of the collector at the other end. */
  readonly peerId: string;
  readonly collectorId: string;
  /** Largest descriptor that is read. */
  readonly descriptorBytesMax: number;
  readonly signal: AbortSignal;
}

/** What the collector at the other end of a link has registered, as it tells. All of it is checked for its form. */
export class PeerRegistrations {
  readonly #options: PeerRegistrationsOptions;

  constructor(options: PeerRegistrationsOptions) {
    this.#options = options;
  }

  /**
   * @throws {CallFailure}
   * @throws {CollectorError} ANSWER_INVALID
   */
  async list(namespace: string): Promise<SharedEntry[]> {
    const { collectorId, peerId } = this.#options;
    const entries: SharedEntry[] = [];
    let bytes = 0;
    const answers = this.#ask(
      "ListSharedRegistrations",
      ListSharedRegistrationsRequestSchema,
      { namespace },
      ListSharedRegistrationsResponseSchema,
    );
    for await (const { message, size } of answers) {
      bytes += size;
      if (bytes > indexBytesMax || entries.length + message.registrations.length > entriesMax) {
        throw this.#invalid(`tells of more than ${entriesMax} registrations of ${namespace}`);
      }
      for (const entry of message.registrations) {
        const read = readEntry(entry);
        if (read === undefined) throw this.#invalid("tells of a registration that is none");
        // What was registered here and comes back is known to be from here.
        const origin = read.origin === "" ? peerId : read.origin === collectorId ? "" : read.origin;
        entries.push({ ...read, origin });
      }
    }
    return entries;
  }

  /**
   * Reads versions of files, those of one file one behind the other, the newest last. Those that are not there
   * any more, and those over the limit, are left out, and so are earlier ones if there is too much of them.
   *
   * @throws {CallFailure}
   * @throws {CollectorError} ANSWER_INVALID
   */
  async read(
    namespace: string,
    wanted: readonly WantedVersion[],
  ): Promise<Map<number, ReadVersion>> {
    const { descriptorBytesMax, collectorId, peerId } = this.#options;
    const found = new Map<number, ReadVersion>();
    let parts: Uint8Array[] = [];
    let bytes = 0;
    let historyBytes = 0;
    let reading = -1;
    const answers = this.#ask(
      "ReadSharedFiles",
      ReadSharedFilesRequestSchema,
      {
        namespace,
        versions: wanted.map(({ name, hash }) => ({ name, hash: Buffer.from(hash, "hex") })),
      },
      ReadSharedFilesResponseSchema,
    );
    for await (const { message } of answers) {
      const { index, part, isLast, originCollectorId } = message;
      if (index !== reading) {
        if (index <= reading || index >= wanted.length)
          throw this.#invalid("sends what nobody asked for");
        [parts, bytes, reading] = [[], 0, index];
      }
      bytes += part.byteLength;
      // One byte more than is allowed tells that it is too much.
      if (bytes <= descriptorBytesMax + 1) parts.push(part.slice());
      if (!isLast) continue;
      const origin =
        originCollectorId === ""
          ? peerId
          : originCollectorId === collectorId
            ? ""
            : originCollectorId;
      if (bytes > descriptorBytesMax) continue;
      if (wanted[index]?.name === wanted[index + 1]?.name) historyBytes += bytes;
      else historyBytes = Math.min(historyBytes, historyBytesMax);
      if (historyBytes <= historyBytesMax)
        found.set(index, { source: Buffer.concat(parts), origin });
    }
    return found;
  }

  async *#ask<I extends DescMessage, O extends DescMessage>(
    method: string,
    input: I,
    request: MessageInitShape<I>,
    output: O,
  ): AsyncGenerator<{ readonly message: MessageShape<O>; readonly size: number }, undefined> {
    const { channel, signal } = this.#options;
    const path = `/collector.Mesh/${method}`;
    const bytes = toBinary<DescMessage>(input, create<DescMessage>(input, request));
    const deadlineMs = performance.now() + questionMs;
    const { messages } = channel.stream(path, [bytes], { signal, deadlineMs });
    try {
      for await (const answer of messages) {
        yield { message: this.#decode(output, answer), size: answer.byteLength };
      }
    } finally {
      await messages.return?.();
    }
  }

  #decode<O extends DescMessage>(output: O, bytes: Uint8Array): MessageShape<O> {
    try {
      return fromBinary(output, bytes);
    } catch (cause) {
      throw this.#invalid("sends what is no message", cause);
    }
  }

  #invalid(problem: string, cause?: unknown): CollectorError {
    const { peerId } = this.#options;
    return new CollectorError("ANSWER_INVALID", `collector ${peerId} ${problem}`, { cause });
  }
}
