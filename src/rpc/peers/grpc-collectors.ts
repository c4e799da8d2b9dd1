import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { CopyRun } from "../../copies/copy-parts.ts";
import type {
  PulledArchive,
  RemoteCollector,
  RemoteCollectors,
} from "../../copies/remote/remote-collector.ts";
import type { ArchiveChunk } from "../../copies/transfers/archive-chunks.ts";
import { CollectorError } from "../../errors.ts";
import {
  type DescribeCopyResponse,
  type GetTransferResponse,
  Transfers,
} from "../../gen/collector/backups_pb.ts";
import {
  CollectionRepo,
  type PullCollectionChunk_Metadata,
  PullCollectionChunkSchema,
  PullCollectionRequestSchema,
  PushCollectionRequestSchema,
  type PushCollectionResponse,
} from "../../gen/collector/collection_repo_pb.ts";
import { printable } from "../../lib/printable.ts";
import type { Channel, Dialer } from "../../mesh/channel.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { giveBytesBack } from "../lent-bytes.ts";
import { chunkRoom, pushChunk } from "../services/chunk-messages.ts";
import { fromRemote } from "./remote-failures.ts";

/** How long a short call may take, in ms. */
const shortCallMs = 30_000;

/** Longest phase that another collector may tell. */
const phaseCharsMax = 64;

/** Other collectors, as gRPC clients reach them. */
export function grpcCollectors(dialer: Dialer): RemoteCollectors {
  return { reach: (endpoint, field) => new GrpcCollector(dialer.dial(endpoint, field)) };
}

class GrpcCollector implements RemoteCollector {
  readonly chunkRoom = chunkRoom;
  readonly #channel: Channel;

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  get endpoint(): string {
    return this.#channel.endpoint;
  }

  async describeCopy(
    collection: { readonly namespace: string; readonly name: string },
    signal: AbortSignal,
  ): Promise<DescribeCopyResponse> {
    return await this.#call(Transfers.method.describeCopy, { collection }, signal);
  }

  async getTransfer(transferId: string, signal: AbortSignal): Promise<GetTransferResponse> {
    return await this.#call(Transfers.method.getTransfer, { transferId }, signal);
  }

  async abandonTransfer(transferId: string, signal: AbortSignal): Promise<void> {
    await this.#call(Transfers.method.abandonTransfer, { transferId }, signal);
  }

  async push(
    metadata: Parameters<RemoteCollector["push"]>[0],
    chunks: AsyncIterable<ArchiveChunk>,
    signal: AbortSignal,
  ): Promise<PushCollectionResponse> {
    const method = CollectionRepo.method.pushCollection;
    try {
      const answer = this.#channel.stream(pathOf(method), pushMessages(metadata, chunks), {
        signal,
      });
      let response: PushCollectionResponse | undefined;
      for await (const bytes of answer.messages) response ??= fromBinary(method.output, bytes);
      if (response === undefined) throw this.#nonsense("a push without an answer");
      return response;
    } catch (error) {
      throw fromRemote(error, this.endpoint, "transfers of collections");
    }
  }

  async pull(
    request: Parameters<RemoteCollector["pull"]>[0],
    { signal, report }: CopyRun,
  ): Promise<PulledArchive> {
    const path = pathOf(CollectionRepo.method.pullCollection);
    const message = encode(PullCollectionRequestSchema, { ...request, reportProgress: true });
    const { messages } = this.#channel.stream(path, [message], { signal });
    try {
      return {
        metadata: await this.#metadataOf(messages, report),
        chunks: this.#chunks(messages),
        [Symbol.asyncDispose]: async () => {
          await messages.return?.();
        },
      };
    } catch (error) {
      await messages.return?.();
      throw fromRemote(error, this.endpoint, "transfers of collections");
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#channel[Symbol.asyncDispose]();
  }

  /** Reads up to the metadata. */
  async #metadataOf(
    messages: AsyncIterator<Uint8Array>,
    report: CopyRun["report"],
  ): Promise<PullCollectionChunk_Metadata> {
    for (;;) {
      const next = await messages.next();
      const bytes = next.done === true ? new Uint8Array() : next.value;
      const { data, progress } = fromBinary(PullCollectionChunkSchema, bytes);
      if (data.case === "metadata") return data.value;
      if (progress === undefined) throw this.#nonsense("an archive without metadata");
      // It is shown to people here, whoever wrote it. How far it is counts other bytes than those that come.
      report({ phase: printable(progress.phase).slice(0, phaseCharsMax) });
    }
  }

  async *#chunks(messages: AsyncIterable<Uint8Array>): AsyncGenerator<ArchiveChunk, undefined> {
    try {
      for await (const bytes of messages) {
        const { data, chunkCrc32 } = fromBinary(PullCollectionChunkSchema, bytes);
        if (data.case !== "chunk") throw this.#nonsense("something else than chunks");
        yield { bytes: data.value, crc32: chunkCrc32, giveBack: () => giveBytesBack(bytes) };
      }
    } catch (error) {
      throw fromRemote(error, this.endpoint, "transfers of collections");
    }
  }

  async #call<I extends DescMessage, O extends DescMessage>(
    method: DescMethod & { readonly input: I; readonly output: O },
    request: MessageInitShape<I>,
    signal: AbortSignal,
  ): Promise<MessageShape<O>> {
    try {
      const message = encode(method.input, request);
      const deadlineMs = performance.now() + shortCallMs;
      const answer = await this.#channel.unary(pathOf(method), message, { signal, deadlineMs });
      return fromBinary(method.output, answer.message);
    } catch (error) {
      throw fromRemote(error, this.endpoint, "transfers of collections");
    }
  }

  #nonsense(what: string): CollectorError {
    return new CollectorError("PEER_NOT_COLLECTOR", `${this.endpoint} sends ${what}`, {
      subject: { endpoint: this.endpoint },
    });
  }
}

async function* pushMessages(
  metadata: Parameters<RemoteCollector["push"]>[0],
  chunks: AsyncIterable<ArchiveChunk>,
): AsyncGenerator<Uint8Array, undefined> {
  yield encode(PushCollectionRequestSchema, { data: { case: "metadata", value: metadata } });
  for await (const chunk of chunks) yield pushChunk(chunk);
}

function encode<D extends DescMessage>(schema: D, message: MessageInitShape<D>): Buffer {
  return encodeMessage(schema, create<DescMessage>(schema, message), 0);
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
