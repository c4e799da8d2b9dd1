import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { defaultLimits } from "../../../../lib/limits.ts";
import type { WriteStep } from "../../../record-store.ts";
import type { StoreLayout } from "../../../store-layout.ts";
import { peopleLayout } from "../../../testing/engine-harness.ts";
import { createStoreFolder } from "../../create-store.ts";
import { dataFileName } from "../../store-paths.ts";
import type { Answer } from "../answer-codec.ts";
import { StoreWriter } from "../store-writer.ts";
import { packWrites, unpackWrites } from "../write-codec.ts";

export interface OpenedWriter extends AsyncDisposable {
  readonly path: string;
  readonly store: StoreWriter;
}

/** The writer of a new store in a temporary folder. */
export async function openWriter(layout: StoreLayout = peopleLayout): Promise<OpenedWriter> {
  const folder = await mkdtemp(join(tmpdir(), "collector-writer-"));
  createStoreFolder(join(folder, "store"), layout);
  const path = join(folder, "store", dataFileName);
  const store = StoreWriter.open(path, defaultLimits);
  return {
    path,
    store,
    async [Symbol.asyncDispose]() {
      store.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Runs writes as one group. @returns their answers, in their order */
export function runGroup(
  store: StoreWriter,
  writes: readonly (readonly WriteStep[])[],
  { diskLow = false, nowUs = 1n }: { readonly diskLow?: boolean; readonly nowUs?: bigint } = {},
): readonly Answer[] {
  const packed = packWrites(
    writes.map((steps, call) => ({ call, storeKey: "people/1", nowUs, write: { steps } })),
  );
  const incoming = unpackWrites(packed);
  let next = 0;
  const { answers } = store.runGroup(() => incoming[next++], diskLow);
  return answers.toSorted((a, b) => a.call - b.call);
}
