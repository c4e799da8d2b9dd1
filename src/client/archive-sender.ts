import { crc32 } from "node:zlib";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  PushCollectionRequest_MetadataSchema,
  PushCollectionRequestSchema,
} from "../gen/collector/collection_repo_pb.ts";
import type { Attempted } from "./archive-attempts.ts";
import type { ArchiveContent } from "./archive-content.ts";
import type { LongCallOptions } from "./long-call.ts";

type SentMetadata = Exclude<
  MessageInitShape<typeof PushCollectionRequest_MetadataSchema>,
  { readonly $typeName: string }
> & { readonly sizeUnknown: boolean };

/** Sends an archive from where the server has it. */
export class Sender implements Attempted {
  readonly #content: ArchiveContent;
  readonly #metadata: SentMetadata;
  readonly #options: LongCallOptions;
  /** Set once the server was reached. */
  isBegun = false;
  /** What reading the archive has failed with. */
  failure: unknown;
  moved = 0;

  constructor(content: ArchiveContent, metadata: SentMetadata, options: LongCallOptions) {
    this.#content = content;
    this.#metadata = metadata;
    this.#options = options;
  }

  async *requests(
    offset: bigint,
  ): AsyncIterable<MessageInitShape<typeof PushCollectionRequestSchema>> {
    const total = BigInt(this.#content.sizeBytes ?? 0);
    const { onProgress } = this.#options;
    this.moved = Math.max(this.moved, Number(offset));
    yield { data: { case: "metadata", value: { ...this.#metadata, offset } } };
    let done = offset;
    for await (const chunk of this.#read(Number(offset))) {
      yield { data: { case: "chunk", value: chunk }, chunkCrc32: crc32(chunk) };
      done += BigInt(chunk.byteLength);
      onProgress?.({ operation: "", phase: "sending", done, total });
    }
    if (this.#metadata.sizeUnknown) yield { finalSize: done };
    onProgress?.({ operation: "", phase: "checking", done: 0n, total: 0n });
  }

  // A connection that breaks throws into the requests: what comes from reading is told apart here.
  async *#read(offset: number): AsyncIterable<Uint8Array> {
    try {
      yield* this.#content.from(offset);
    } catch (error) {
      this.failure = error;
      throw error;
    }
  }
}
