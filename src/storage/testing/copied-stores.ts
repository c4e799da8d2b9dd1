import assert from "node:assert/strict";
import { CollectorError } from "../../errors.ts";
import { contentPath } from "../../lib/content-list.ts";
import type { RecordStore, StorageEngine } from "../record-store.ts";
import type { StoreChange, StoreChanges } from "../store-copies.ts";
import type { StoredFile } from "../store-files.ts";
import type { StoreLayout } from "../store-layout.ts";

export async function filesOf(
  store: RecordStore,
  ids: readonly string[],
): Promise<readonly [StoredFile, string][]> {
  const found: [StoredFile, string][] = [];
  for (const owner of ["", ...ids]) {
    const page = await store.files.list({ owner, prefix: "", after: undefined, limit: 100 });
    for (const file of page.files) found.push([file, await readText(store, file)]);
  }
  return found;
}

export async function readText(
  store: RecordStore,
  { sha256, sizeBytes }: StoredFile,
): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of store.files.read(sha256, { offset: 0n, length: sizeBytes })) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

export async function putFile(
  store: RecordStore,
  owner: string,
  name: string,
  text: string,
): Promise<void> {
  await using upload = await store.files.begin();
  await upload.write(Buffer.from(text));
  await upload.finish();
  await store.files.put(upload, { owner, name, contentType: "text/plain" });
}

export function pathIn({ contents }: StoreChanges): (sha256: string) => string | undefined {
  const { list, folder } = contents;
  return (sha256) => (list.has(sha256) ? contentPath(folder, sha256) : undefined);
}

export async function pagesOf(changes: StoreChanges): Promise<(readonly StoreChange[])[]> {
  const pages: (readonly StoreChange[])[] = [];
  for (let page = await changes.next(); page !== undefined; page = await changes.next()) {
    pages.push(page);
  }
  return pages;
}

export async function reasonOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (error) {
    if (error instanceof CollectorError) return error.reason;
    throw error;
  }
}

/** Two empty stores. */
export async function twoStores(
  engine: StorageEngine,
  layout: StoreLayout,
): Promise<[source: RecordStore, copy: RecordStore]> {
  const locations = ["source", "copy"].map((storeId) => ({ storeId, generation: 1n }));
  const [source, copy] = locations.map((location) => engine.store(location));
  for (const location of locations) await engine.create(location, layout);
  assert(source !== undefined && copy !== undefined);
  return [source, copy];
}
