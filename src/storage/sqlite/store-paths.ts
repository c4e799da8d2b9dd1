import { join } from "node:path";
import { CollectorError } from "../../errors.ts";
import type { StoreLocation } from "../record-store.ts";

/** The file that holds a store, in the folder of its generation. */
export const dataFileName = "data.sqlite";

/** Folders of stores being made or removed begin so; what a crash leaves of them is swept. */
export const transientPrefix = ".";

const storeIdPattern = /^[a-z0-9-]{1,64}$/;
const generationPattern = /^(0|[1-9][0-9]{0,18})$/;

/**
 * A store's folder, relative to the folder of all stores; also what the store is called among the
 * parts of the engine.
 */
export function storeKeyOf({ storeId, generation }: StoreLocation): string {
  if (!storeIdPattern.test(storeId) || generation < 0n) {
    throw new CollectorError("INTERNAL", "a store has a name that is none");
  }
  return join(storeId, String(generation));
}

/** The location that a folder's two names stand for; undefined if they are not of a store. */
export function locationOf(storeId: string, generation: string): StoreLocation | undefined {
  if (!storeIdPattern.test(storeId) || !generationPattern.test(generation)) return undefined;
  return { storeId, generation: BigInt(generation) };
}
