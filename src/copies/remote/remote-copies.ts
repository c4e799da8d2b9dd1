import { CollectorError } from "../../errors.ts";
import { checkDestination } from "../copy-destination.ts";
import type { CopyRun } from "../copy-parts.ts";
import { FetchedCopy, type FetchedCopyOptions } from "./fetched-copy.ts";
import { PushedCopy, type PushedCopyOptions } from "./pushed-copy.ts";
import type { RemoteCollectors, RemoteCopyRequest, RemoteCopyResult } from "./remote-collector.ts";

export type RemoteCopiesOptions = Omit<FetchedCopyOptions & PushedCopyOptions, "remote"> & {
  readonly remotes: RemoteCollectors;
};

/** Makes copies of collections between this collector and others. */
export class RemoteCopies {
  readonly #options: RemoteCopiesOptions;

  constructor(options: RemoteCopiesOptions) {
    this.#options = options;
  }

  /**
   * Copies a collection of this collector to another one.
   *
   * @throws {CollectorError} COLLECTION_NOT_FOUND, PEER_DENIED, PEER_UNAVAILABLE, METHOD_UNIMPLEMENTED if the
   * other one is too old, COLLECTION_EXISTS, and whatever it refuses; nothing is left then
   */
  async clone(request: RemoteCopyRequest, run: CopyRun): Promise<RemoteCopyResult> {
    checkDestination(request.dest);
    await using remote = this.#options.remotes.reach(request.endpoint, "dest_endpoint");
    const copy = new PushedCopy({ ...this.#options, remote });
    return await orWhole(request, (mayBeDelta) => copy.make(request, mayBeDelta, run));
  }

  /**
   * Copies a collection of another collector to this one.
   *
   * @throws {CollectorError} as {@link clone}, the other way round
   */
  async fetch(request: RemoteCopyRequest, run: CopyRun): Promise<RemoteCopyResult> {
    checkDestination(request.dest);
    await using remote = this.#options.remotes.reach(request.endpoint, "source_endpoint");
    const copy = new FetchedCopy({ ...this.#options, remote });
    return await orWhole(request, (mayBeDelta) => copy.make(request, mayBeDelta, run));
  }
}

/** Brings what has changed, and everything if the copy was written to just then. */
async function orWhole(
  { refresh }: RemoteCopyRequest,
  make: (mayBeDelta: boolean) => Promise<RemoteCopyResult>,
): Promise<RemoteCopyResult> {
  if (!refresh) return await make(false);
  try {
    return await make(true);
  } catch (error) {
    const isUnusable = error instanceof CollectorError && error.reason === "BASE_UNUSABLE";
    if (!isUnusable) throw error;
    return await make(false);
  }
}
