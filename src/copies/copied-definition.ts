import { rm } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import type { CollectionCatalog, CopySource } from "../collections/catalog.ts";
import { layoutOf } from "../collections/definitions.ts";
import { CollectorError } from "../errors.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { Clock } from "../lib/clock.ts";
import type { StoreSnapshot } from "../storage/store-copies.ts";
import type { CopyRun } from "./copy-parts.ts";

/** What a copy of a collection is, whose definition may have been changing when it was made. */
export interface CopiedDefinition {
  readonly definition: Collection;
  /** Fields that the copy has indexes on, if they are not those of the definition. */
  readonly indexes: readonly string[] | undefined;
  /** Some of what is derived of records may be of before or after the definition. */
  readonly deriveAnew: boolean;
}

/** How often a copy is made again because it is of a moment between two steps of a change. */
const attemptsMax = 5;
/** How long to wait before, in ms; longer each time. */
const pauseMs = 100;

/** A copy of a collection's data, and the definition that it is of. Disposing it lets go of its contents. */
export interface CollectionCopy extends CopiedDefinition, AsyncDisposable {
  readonly snapshot: StoreSnapshot;
  /** When the copy began. */
  readonly nowUs: bigint;
}

export interface CopyCollection {
  readonly namespace: string;
  readonly name: string;
  readonly files: boolean;
  /** Absolute; where the data is written. Nothing is there yet. */
  readonly path: string;
  /** True if the data is removed again soon. */
  readonly isTransient?: boolean;
}

/**
 * Copies a collection as it is at one moment, whatever is being changed about it.
 *
 * @throws {CollectorError} COLLECTION_NOT_FOUND, DISK_FULL; COLLECTION_REPLACED if it changes again and
 * again; the signal's reason
 */
export async function copyCollection(
  { catalog, clock }: { readonly catalog: CollectionCatalog; readonly clock: Clock },
  { namespace, name, files, path, isTransient }: CopyCollection,
  { signal, report }: CopyRun,
): Promise<CollectionCopy> {
  for (let attempt = 1; ; attempt += 1) {
    const before = catalog.copySource(namespace, name);
    const nowUs = clock.nowUs();
    report({ phase: "copying" });
    const snapshot = await catalog.store(namespace, name).snapshot({
      path,
      files,
      isTransient,
      signal,
      onProgress: (progress) => report({ ...progress, phase: "copying" }),
    });
    const dispose = (): PromiseLike<void> => snapshot[Symbol.asyncDispose]();
    const isThere = catalog.find(namespace, name) !== undefined;
    const after = isThere ? catalog.copySource(namespace, name) : undefined;
    const copied = copiedDefinition(before, after, snapshot.layout);
    if (copied !== undefined) return { ...copied, snapshot, nowUs, [Symbol.asyncDispose]: dispose };
    await dispose();
    await rm(path, { force: true });
    if (attempt === attemptsMax) {
      const problem = "the definition of the collection changed while it was copied; try again";
      throw new CollectorError("COLLECTION_REPLACED", problem);
    }
    await setTimeout(attempt * pauseMs);
    signal.throwIfAborted();
  }
}

/**
 * Finds the definition that the data of a copy is of: the one before the copy or the one after, or what either
 * was being altered to. The data of a collection changes step by step before its definition does.
 *
 * @param after undefined if the collection is gone
 * @returns undefined if none fits: the copy is of a moment between two steps, and has to be made again
 */
export function copiedDefinition(
  before: CopySource,
  after: CopySource | undefined,
  layout: StoreSnapshot["layout"],
): CopiedDefinition | undefined {
  const { collectionId, generation } = before.definition;
  const isSame =
    after?.definition.collectionId === collectionId && after.definition.generation === generation;
  const sources = after !== undefined && isSame ? [before, after] : [before];
  const definition = sources
    .flatMap(({ definition: current, altering }) => [current, altering])
    .find((candidate) => candidate !== undefined && isSearchedLike(candidate, layout));
  if (definition === undefined) return undefined;
  const fields = layout.indexes.map(({ path }) => path);
  const isIndexed = isDeepStrictEqual(fields.toSorted(), definition.indexedFields.toSorted());
  return {
    definition,
    indexes: isIndexed ? undefined : fields,
    deriveAnew: sources.some(({ isDeriving, changes }) => isDeriving || changes !== before.changes),
  };
}

/** Whether text and vectors of a copy are those that a definition says. */
export function isSearchedLike(
  definition: Collection,
  { text, vectors }: Pick<StoreSnapshot["layout"], "text" | "vectors">,
): boolean {
  const wanted = layoutOf(definition);
  return isDeepStrictEqual(
    [toPlain(text), vectors.map(toPlain).sort(byText)],
    [toPlain(wanted.text), wanted.vectors.map(toPlain).sort(byText)],
  );
}

/** As a store keeps it: what JSON leaves out is left out. */
function toPlain(value: object | undefined): unknown {
  return value === undefined ? undefined : JSON.parse(JSON.stringify(value));
}

function byText(one: unknown, other: unknown): number {
  return JSON.stringify(one) < JSON.stringify(other) ? -1 : 1;
}
