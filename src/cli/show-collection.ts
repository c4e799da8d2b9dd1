import { Durability } from "../gen/collector/collection_pb.ts";
import { formatBytes } from "./output.ts";
import type { ShowRequest } from "./show-schema.ts";

/** Prints what a collection is: its definition, size and fields. @throws {ClientError} COLLECTION_NOT_FOUND */
export async function showCollection(request: ShowRequest): Promise<void> {
  const { client, name: collectionName, namespace, output, signal } = request;
  const described = await client.services.records.describe(
    { namespace, collectionName },
    { signal },
  );
  const { collectionDefinition: definition, recordCount, storageSizeBytes } = described;
  if (output.format === "name") {
    output.line(definition?.name ?? collectionName);
    return;
  }
  if (output.format !== "table") {
    output.json(await client.toJson(described));
    return;
  }
  output.facts(
    [
      ["Collection", `${definition?.namespace ?? ""}/${definition?.name ?? collectionName}`],
      ["Type", `${definition?.messageType?.messageName ?? ""} (version ${described.typeVersion})`],
      ["Records", recordCount.toLocaleString("en")],
      ["Size", formatBytes(storageSizeBytes)],
      ["Revision", String(described.revision)],
      ["Durability", definition?.durability === Durability.RELAXED ? "relaxed" : "full"],
    ],
    {},
  );
  output.line("");
  output.list(
    described.fields,
    [
      { header: "FIELD", text: ({ path }) => path },
      { header: "TYPE", text: (field) => `${field.repeated ? "repeated " : ""}${field.type}` },
      { header: "INDEXED", text: ({ indexed }) => (indexed ? "yes" : "") },
      { header: "SEARCHED", text: ({ fullText }) => (fullText ? "yes" : "") },
    ],
    ({ path }) => path,
  );
}
