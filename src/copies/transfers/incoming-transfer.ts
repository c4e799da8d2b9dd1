import { CollectorError } from "../../errors.ts";
import type { PushCollectionResponse } from "../../gen/collector/collection_repo_pb.ts";
import type { Log } from "../../lib/log.ts";
import { orAborted } from "../../lib/until-aborted.ts";
import type { CopyRun } from "../copy-parts.ts";
import type { ArchiveChunk } from "./archive-chunks.ts";
import type { IncomingArchive } from "./incoming-archive.ts";
import type { PushRequest } from "./transfer-requests.ts";

/** A call that brings chunks. */
interface Stream {
  readonly controller: AbortController;
  readonly ended: Promise<void>;
}

export interface IncomingTransferOptions {
  readonly id: string;
  readonly request: PushRequest;
  readonly archive: IncomingArchive;
  readonly streamIdleMs: number;
  readonly log: Log;
  /** Makes the collection of the archive, once that is there. */
  readonly install: (run: CopyRun) => Promise<PushCollectionResponse>;
}

/**
 * One archive that is pushed: it takes chunks, call after call, until all of it is there, and then makes a
 * collection of it.
 */
export class IncomingTransfer {
  readonly id: string;
  readonly request: PushRequest;
  readonly #options: IncomingTransferOptions;
  readonly #arrival = Promise.withResolvers<void>();
  readonly #outcome = Promise.withResolvers<PushCollectionResponse>();
  readonly #ended = Promise.withResolvers<void>();
  readonly #stop = new AbortController();
  #stream: Stream | undefined;
  #report: CopyRun["report"] = () => undefined;
  #isWhole = false;
  #response: PushCollectionResponse | undefined;

  constructor(options: IncomingTransferOptions) {
    this.id = options.id;
    this.request = options.request;
    this.#options = options;
    // Whether anybody waits for it is up to the calls.
    this.#outcome.promise.catch(() => undefined);
  }

  get receivedBytes(): bigint {
    return BigInt(this.#options.archive.receivedBytes);
  }

  /** What the collection was answered with; undefined until it is there. */
  get response(): PushCollectionResponse | undefined {
    return this.#response;
  }

  /** Whether only a sender can bring it on. */
  get isWaiting(): boolean {
    return this.#stream === undefined && !this.#isWhole && !this.#stop.signal.aborted;
  }

  /**
   * Takes what a call brings, in the place of one that is under way, and waits for the collection.
   *
   * @throws {CollectorError} what {@link IncomingArchive.receive} throws, or what the work failed with
   */
  async receive(
    offset: bigint,
    chunks: AsyncIterable<ArchiveChunk>,
    signal: AbortSignal,
  ): Promise<PushCollectionResponse> {
    await this.#takeOver(offset, chunks, signal);
    return await orAborted(this.#outcome.promise, signal);
  }

  /** The work of the transfer, from its first byte on. Nothing is staged any more when it ends. */
  async work(run: CopyRun): Promise<PushCollectionResponse> {
    const { install } = this.#options;
    const signal = AbortSignal.any([run.signal, this.#stop.signal]);
    this.#report = run.report;
    run.report({ phase: "receiving", total: BigInt(this.request.sizeBytes ?? 0) });
    try {
      await orAborted(this.#arrival.promise, signal);
      const response = await install({ signal, report: run.report });
      await this.#clean();
      this.#response = response;
      this.#outcome.resolve(response);
      return response;
    } catch (error) {
      const reason: unknown = signal.aborted ? signal.reason : error;
      this.giveUp(reason);
      await this.#clean();
      this.#outcome.reject(reason);
      throw reason;
    } finally {
      this.#ended.resolve();
    }
  }

  /** Stops whatever is going on. */
  giveUp(reason: unknown): void {
    this.#stop.abort(reason);
  }

  /** Resolves when nothing goes on any more, and nothing is staged. */
  ended(): Promise<void> {
    return this.#ended.promise;
  }

  async #clean(): Promise<void> {
    const { archive, log, id } = this.#options;
    try {
      await archive[Symbol.asyncDispose]();
    } catch (error) {
      // It goes at the next start.
      log.warn({ transfer: id, err: error }, "an archive that came could not be removed");
    }
  }

  async #takeOver(
    offset: bigint,
    chunks: AsyncIterable<ArchiveChunk>,
    signal: AbortSignal,
  ): Promise<void> {
    const before = this.#stream;
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    const stream: Stream = { controller: new AbortController(), ended };
    this.#stream = stream;
    try {
      // The sender comes back before the end of its connection is noticed here.
      before?.controller.abort(
        new CollectorError("OPERATION_RUNNING", "another call goes on with this transfer"),
      );
      await before?.ended;
      if (this.#isWhole) return;
      await this.#options.archive.receive(offset, chunks, {
        signal: AbortSignal.any([signal, stream.controller.signal, this.#stop.signal]),
        idleMs: this.#options.streamIdleMs,
        onProgress: (progress) => this.#report({ ...progress, phase: "receiving" }),
      });
      this.#isWhole = true;
      this.#arrival.resolve();
    } finally {
      if (this.#stream === stream) this.#stream = undefined;
      end();
    }
  }
}
