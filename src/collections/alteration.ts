import { create, equals } from "@bufbuild/protobuf";
import { type Collection, CollectionSchema } from "../gen/collector/collection_pb.ts";
import type { OperationRun } from "../operations/operation.ts";
import type { RecordStore } from "../storage/record-store.ts";
import type {
  StoreShape,
  TextIndexDefinition,
  VectorIndexDefinition,
} from "../storage/store-layout.ts";
import type { CatalogEntry } from "./catalog-entry.ts";
import { type AlteredParts, partsOf, withParts } from "./definitions.ts";
import { expirySourceOf, isSameExpiry } from "./expiry-definition.ts";
import type { RecordRequests } from "./record-requests.ts";
import { rederive } from "./rederive.ts";
import { isSameText, textIndexOf } from "./text-definition.ts";
import { isSameVectors, vectorIndexesOf, vectorPathsOf } from "./vector-definition.ts";

/** What it takes to get from one definition to another. */
export interface AlterationNeeds {
  /** The definition as it is answered changes. */
  readonly changes: boolean;
  /** Weights change, and nothing else that the store knows of. */
  readonly weights: boolean;
  /** Records have to be derived anew, or indexes dropped: the work of an operation. */
  readonly work: boolean;
}

export function needsOf(from: Collection, to: AlteredParts): AlterationNeeds {
  const target = withParts(from, to);
  const changes = !isSameParts(partsOf(from), to);
  const text = textIndexOf(target);
  const work =
    !isSameText(textIndexOf(from), text) ||
    !isSameVectors(vectorIndexesOf(from), vectorIndexesOf(target)) ||
    !isSameExpiry(expirySourceOf(from), expirySourceOf(target));
  return { changes, work, weights: !work && changes && text !== undefined };
}

export function isSameParts(one: AlteredParts, other: AlteredParts): boolean {
  const empty = create(CollectionSchema);
  return equals(CollectionSchema, withParts(empty, one), withParts(empty, other));
}

/** What {@link RecordStore.reshape} takes. */
interface Wanted {
  readonly text: TextIndexDefinition | undefined;
  readonly vectors: readonly VectorIndexDefinition[];
}

export function wantedBy(definition: Collection): Wanted {
  return { text: textIndexOf(definition), vectors: vectorIndexesOf(definition) };
}

/** What serves now goes on to, beside what is built: it is dropped only when all is there. */
function wantedMeanwhile(from: Wanted, to: Wanted): Wanted {
  const kept = from.vectors.filter(({ name }) => to.vectors.every((other) => other.name !== name));
  return { text: to.text ?? from.text, vectors: [...to.vectors, ...kept] };
}

export interface AlterationOptions {
  readonly entry: CatalogEntry;
  readonly requests: RecordRequests;
  /** Puts the altered parts into the definition, durably. */
  readonly commit: (parts: AlteredParts) => Promise<void>;
  readonly run: OperationRun;
}

/**
 * Alters text search, vector fields and expiry of a collection while it serves. Searches use the old
 * indexes until the new ones hold every record. The definition changes last: until then a cut or a
 * cancel leaves the old one in force, and doing it again goes on where it makes sense.
 *
 * @throws the reason of the run's signal, with all that was begun still there: see {@link takeBack}.
 */
export async function alter(
  { entry, requests, commit, run }: AlterationOptions,
  parts: AlteredParts,
): Promise<void> {
  const { store, definition: old } = entry;
  const target = withParts(old, parts);
  entry.altering = target;
  run.signal.throwIfAborted();
  const wanted = wantedBy(target);
  const meanwhile = wantedMeanwhile(wantedBy(old), wanted);
  const shape = await store.reshape(meanwhile);
  const changesExpiry = !isSameExpiry(expirySourceOf(old), expirySourceOf(target));
  if (changesExpiry || hasToDerive(shape, target)) {
    const { signal, report } = run;
    const readTarget = () => entry.records.target();
    const phase = "deriving records";
    await rederive({ store, requests, target: readTarget, signal, report, phase });
  }
  run.signal.throwIfAborted();
  run.report({ phase: "putting new indexes in force" });
  await complete(store, shape);
  if (!isSameWanted(meanwhile, wanted)) await store.reshape(wanted);
  await commit(parts);
  entry.altering = undefined;
}

/**
 * After an alteration has failed or was cancelled: the collection is again what its definition says.
 * Vectors that came beside records in a field that was already dropped are lost.
 */
export async function takeBack({
  entry,
  requests,
  run,
}: Omit<AlterationOptions, "commit">): Promise<void> {
  const { store, definition, altering } = entry;
  entry.altering = undefined;
  if (entry.isDeleted || altering === undefined) return;
  const shape = await store.reshape(wantedBy(definition));
  const changesExpiry = !isSameExpiry(expirySourceOf(definition), expirySourceOf(altering));
  if (changesExpiry || hasToDerive(shape, definition)) {
    const signal = run.stopping;
    const readTarget = () => entry.records.target();
    const phase = "taking back what was begun";
    await rederive({ store, requests, target: readTarget, signal, report: run.report, phase });
  }
  await complete(store, shape);
}

/** Vectors that come beside records cannot be derived: an index of them is complete as it is. */
function hasToDerive({ texts, vectors }: StoreShape, definition: Collection): boolean {
  const paths = vectorPathsOf(definition);
  return (
    texts.some(({ state }) => state === "building") ||
    vectors.some(({ state, definition: { name } }) => state === "building" && paths.has(name))
  );
}

/** Puts what is being built in force, if anything is. */
export async function complete(store: RecordStore, { texts, vectors }: StoreShape): Promise<void> {
  const isComplete = [...texts, ...vectors].every(({ state }) => state === "ready");
  if (!isComplete) await store.completeShape();
}

function isSameWanted(one: Wanted, other: Wanted): boolean {
  return isSameText(one.text, other.text) && isSameVectors(one.vectors, other.vectors);
}
