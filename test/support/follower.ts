import { create } from "@bufbuild/protobuf";
import { ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  type Change,
  Change_Kind,
  RecordStreams,
  type WatchRequest,
  WatchRequestSchema,
} from "../../src/gen/collector/record_streams_pb.ts";
import { waitUntil } from "./wait.ts";

/** How long what a follower waits for may take, in ms. */
const patienceMs = 20_000;

/** A watch that is read as fast as it comes. Disposing it hangs up. */
export class Follower implements AsyncDisposable {
  readonly changes: Change[] = [];
  /** The token of each message. */
  readonly tokens: string[] = [];
  /** How the watch ended; undefined while it runs. */
  failure: ConnectError | undefined;
  readonly #ended: Promise<void>;
  readonly #hangUp = new AbortController();

  constructor(transport: Transport, request: Partial<Omit<WatchRequest, "$typeName">>) {
    this.#ended = this.#read(transport, request);
  }

  /** Starts to watch, and waits until the watch is in force. */
  static async open(
    transport: Transport,
    request: Partial<Omit<WatchRequest, "$typeName">>,
  ): Promise<Follower> {
    const follower = new Follower(transport, request);
    await follower.#until("the watch begins", () => follower.tokens.length > 0);
    return follower;
  }

  /** Where to go on. */
  get token(): string {
    return this.tokens.at(-1) ?? "";
  }

  /** What came so far, as in `created a`. */
  get log(): string[] {
    return this.changes.map(({ kind, id }) => `${kindNames[kind]} ${id}`);
  }

  /** Waits for so many changes. @returns them as {@link log} has them */
  async seen(count: number): Promise<string[]> {
    await this.#until(`${count} changes`, () => this.changes.length >= count);
    return this.log;
  }

  /** Waits until the server ends the watch. */
  async ended(): Promise<ConnectError> {
    await this.#ended;
    if (this.failure === undefined) throw new Error("the watch ended without a failure");
    return this.failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#hangUp.abort();
    await this.#ended;
  }

  /** @throws at once what the watch ended with */
  async #until(what: string, check: () => boolean): Promise<void> {
    await waitUntil(what, patienceMs, () => this.failure !== undefined || check());
    if (!check() && this.failure !== undefined) throw this.failure;
  }

  async #read(
    transport: Transport,
    request: Partial<Omit<WatchRequest, "$typeName">>,
  ): Promise<void> {
    const streams = createClient(RecordStreams, transport);
    try {
      const { signal } = this.#hangUp;
      const message = create(WatchRequestSchema, request);
      for await (const response of streams.watch(message, { signal, timeoutMs: 0 })) {
        this.changes.push(...response.changes);
        this.tokens.push(response.resumeToken);
      }
    } catch (error) {
      this.failure = ConnectError.from(error);
    }
  }
}

const kindNames: Readonly<Record<number, string>> = {
  [Change_Kind.CREATED]: "created",
  [Change_Kind.UPDATED]: "updated",
  [Change_Kind.DELETED]: "deleted",
  [Change_Kind.LEFT]: "left",
};

/** What is left of a collection, by id, for someone who was told these changes. */
export function replay(
  changes: readonly Change[],
  start?: Map<string, string>,
): Map<string, string> {
  const state = new Map(start);
  for (const { kind, id, meta } of changes) {
    if (kind === Change_Kind.DELETED || kind === Change_Kind.LEFT) state.delete(id);
    else state.set(id, meta?.version ?? "");
  }
  return state;
}
