import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import type { Collection } from "../gen/collector/collection_pb.ts";
import type { ModifyRequestSchema } from "../gen/collector/collection_server_pb.ts";

/** A line of what an alteration changes: `+` what is new, `-` what goes, `~` what is other than it was. */
export interface Alteration {
  readonly sign: "+" | "-" | "~";
  readonly what: string;
  /** It takes data along that cannot be derived from the records again. */
  readonly loses: boolean;
}

/**
 * What a request would change of a collection, after the server has checked it.
 *
 * @throws {ClientError} what the request would fail with
 */
export async function alterationsOf(
  client: Client,
  request: MessageInitShape<typeof ModifyRequestSchema>,
  signal: AbortSignal,
): Promise<readonly Alteration[]> {
  const { namespace = "", collectionName = "" } = request;
  const { records } = client.services;
  const described = await records.describe({ namespace, collectionName }, { signal });
  await records.modify({ ...request, validateOnly: true }, { signal });
  const { collectionDefinition: definition } = described;
  return definition === undefined ? [] : compare(definition, request);
}

function compare(
  before: Collection,
  request: MessageInitShape<typeof ModifyRequestSchema>,
): readonly Alteration[] {
  const mask = new Set(request.updateMask);
  const changes: Alteration[] = [];
  if (mask.has("indexed_fields")) {
    const now = request.indexedFields ?? [];
    for (const path of now) {
      if (!before.indexedFields.includes(path)) changes.push(change("+", `index on ${path}`));
    }
    for (const path of before.indexedFields) {
      if (!now.includes(path)) changes.push(change("-", `index on ${path}`));
    }
  }
  if (mask.has("text_search")) {
    const isOff = request.textSearch?.disabled === true;
    const wasOff = before.textSearch?.disabled === true;
    if (isOff && !wasOff) changes.push(change("-", "full-text search"));
    else if (!isOff) changes.push(change(wasOff ? "+" : "~", "full-text search"));
  }
  if (mask.has("vector_fields")) {
    const now = new Map((request.vectorFields ?? []).map((field) => [field.name ?? "", field]));
    const old = new Map(before.vectorFields.map((field) => [field.name, field]));
    for (const name of now.keys()) {
      changes.push(change(old.has(name) ? "~" : "+", `vector ${name}`));
    }
    for (const { name, path } of old.values()) {
      if (now.has(name)) continue;
      // Those of a field of the record are still in the record.
      const loses = path === "";
      const what = loses ? ", with the vectors that came beside records" : "";
      changes.push({ sign: "-", what: `vector ${name}${what}`, loses });
    }
  }
  if (mask.has("expiry")) {
    const sign = request.expiry === undefined ? "-" : before.expiry === undefined ? "+" : "~";
    changes.push(change(sign, "expiry of records"));
  }
  return changes;
}

function change(sign: Alteration["sign"], what: string): Alteration {
  return { sign, what, loses: false };
}
