import {
  type CloneResponse,
  CloneResponseSchema,
  type FetchResponse,
  FetchResponseSchema,
} from "../gen/collector/collection_repo_pb.ts";
import { collectionNameOf } from "./collection-name.ts";
import { type LongCallOptions, longCall } from "./long-call.ts";
import type { Services } from "./services.ts";

export interface CopyOptions extends LongCallOptions {
  /** Copies attached files too, which is the default. */
  readonly includeFiles?: boolean;
  /** Brings an earlier copy of the same source up to date; only what has changed travels if it can. */
  readonly refresh?: boolean;
}

export interface CloneOptions extends CopyOptions {
  /** Server to copy to, as `host:port`; this one if it is left out. */
  readonly to?: string | undefined;
}

/** See `Client.clone`. */
export async function cloneCollection(
  services: Services,
  namespace: string,
  source: string,
  dest: string,
  options: CloneOptions,
): Promise<CloneResponse> {
  const { to = "", includeFiles = true, refresh = false } = options;
  const { namespace: destNamespace, name: destName } = collectionNameOf(dest, "");
  const sourceCollection = collectionNameOf(source, namespace);
  const begin = () =>
    services.repo.clone({
      sourceCollection,
      destNamespace,
      destName,
      destEndpoint: to,
      includeFiles,
      refresh,
      returnImmediately: true,
    });
  return await longCall(services.operations, CloneResponseSchema, begin, options);
}

/** See `Client.fetch`. */
export async function fetchCollection(
  services: Services,
  namespace: string,
  endpoint: string,
  source: string,
  dest: string,
  options: CopyOptions,
): Promise<FetchResponse> {
  const { includeFiles = true, refresh = false } = options;
  const { namespace: destNamespace, name: destName } = collectionNameOf(dest, "");
  const sourceCollection = collectionNameOf(source, namespace);
  const begin = () =>
    services.repo.fetch({
      sourceEndpoint: endpoint,
      sourceCollection,
      destNamespace,
      destName,
      includeFiles,
      refresh,
      returnImmediately: true,
    });
  return await longCall(services.operations, FetchResponseSchema, begin, options);
}
