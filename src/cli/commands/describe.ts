import type { DescMessage, DescMethod, JsonValue } from "@bufbuild/protobuf";
import { ScalarType } from "@bufbuild/protobuf";
import type { Client } from "../../client/client.ts";
import { ClientError } from "../../client/client-error.ts";
import type { DefineCommands } from "../define-commands.ts";
import type { Output } from "../output.ts";
import { typeOf } from "../schema-diff.ts";
import { showCollection } from "../show-collection.ts";
import { showSymbol } from "../show-schema.ts";

/** How deep an example goes into messages. */
const exampleDepthMax = 3;

/** `collector describe NAME`: whatever has that name. */
export const define: DefineCommands = (command, context) => {
  command
    .argument("<name>", "a collection, a message, an enum, a service, or service/method")
    .addHelpText(
      "after",
      `
Examples:
  collector describe products
  collector describe shop.v1.Product
  collector describe shop.v1.Shop/Quote`,
    )
    .action(async (name: string) => {
      const { output, connect, signal, namespace = "" } = context(command);
      await using client = await connect();
      if (name.includes("/")) {
        describeMethod(await client.method(name), output);
        return;
      }
      if (!(await hasCollection(client, namespace, name, signal))) {
        await showSymbol({ client, name, namespace, output, signal });
        return;
      }
      await showCollection({ client, name, namespace, output, signal });
    });
};

async function hasCollection(
  client: Client,
  namespace: string,
  collectionName: string,
  signal: AbortSignal,
): Promise<boolean> {
  try {
    await client.services.records.describe({ namespace, collectionName }, { signal });
    return true;
  } catch (error) {
    if (error instanceof ClientError && error.reason === "COLLECTION_NOT_FOUND") return false;
    // Names of types may hold what names of collections may not.
    if (error instanceof ClientError && error.reason === "NAME_INVALID") return false;
    throw error;
  }
}

function describeMethod(method: DescMethod, output: Output): void {
  const example = exampleOf(method.input, 0);
  const name = `${method.parent.typeName}/${method.name}`;
  if (output.format !== "table") {
    const { input, output: answer, methodKind } = method;
    output.json({
      name,
      kind: methodKind,
      input: input.typeName,
      output: answer.typeName,
      example,
    });
    return;
  }
  output.facts(
    [
      ["Method", name],
      ["Kind", method.methodKind.replaceAll("_", " ")],
      ["Request", method.input.typeName],
      ["Answer", method.output.typeName],
    ],
    {},
  );
  output.line("");
  output.list(
    method.input.fields,
    [
      { header: "FIELD", text: ({ jsonName }) => jsonName },
      { header: "TYPE", text: typeOf },
    ],
    ({ name: field }) => field,
  );
  output.line("");
  output.line(`collector call ${name} -d '${JSON.stringify(example)}'`);
}

/** A request with every field in it, to be filled in. */
function exampleOf(message: DescMessage, depth: number): JsonValue {
  const known = wellKnown[message.typeName];
  if (known !== undefined) return known;
  const example: Record<string, JsonValue> = {};
  if (depth === exampleDepthMax) return example;
  const seen = new Set<string>();
  for (const field of message.fields) {
    // One field of a oneof is all that a request may have.
    if (field.oneof !== undefined && seen.has(field.oneof.name)) continue;
    if (field.oneof !== undefined) seen.add(field.oneof.name);
    if (field.fieldKind === "map") example[field.jsonName] = {};
    else if (field.fieldKind === "list") example[field.jsonName] = [];
    else if (field.message !== undefined) {
      example[field.jsonName] = exampleOf(field.message, depth + 1);
    } else if (field.enum !== undefined) {
      example[field.jsonName] = field.enum.values[0]?.name ?? 0;
    } else example[field.jsonName] = exampleScalar(field.scalar);
  }
  return example;
}

const wellKnown: Readonly<Record<string, JsonValue>> = {
  "google.protobuf.Any": { "@type": "type.googleapis.com/…" },
  "google.protobuf.Timestamp": "2026-01-01T00:00:00Z",
  "google.protobuf.Duration": "1s",
  "google.protobuf.FieldMask": "",
  "google.protobuf.Struct": {},
  "google.protobuf.Value": null,
};

function exampleScalar(type: ScalarType): JsonValue {
  switch (type) {
    case ScalarType.STRING:
    case ScalarType.BYTES:
      return "";
    case ScalarType.BOOL:
      return false;
    case ScalarType.INT64:
    case ScalarType.UINT64:
    case ScalarType.SINT64:
    case ScalarType.FIXED64:
    case ScalarType.SFIXED64:
      return "0";
    default:
      return 0;
  }
}
