import type { DescEnum, DescField, DescMessage, DescMethod, DescService } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import type { Output } from "./output.ts";
import { typeOf } from "./schema-diff.ts";

export interface ShowRequest {
  readonly client: Client;
  readonly name: string;
  readonly namespace: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}

/** Prints what a message, enum, service or file consists of. @throws {ClientError} TYPE_NOT_FOUND */
export async function showSymbol(request: ShowRequest): Promise<void> {
  const { client, name, output } = request;
  if (name.endsWith(".proto")) {
    await showFile(request);
    return;
  }
  const found = await client.symbol(name);
  if (output.format === "name") {
    output.line(found.typeName);
    return;
  }
  if (output.format !== "table") {
    output.json(await client.toJson(found.proto));
    return;
  }
  output.line(output.style("bold", `${found.kind} ${found.typeName}`));
  output.line(output.style("dim", found.file.proto.name));
  output.line("");
  if (found.kind === "message") showMessage(found, output);
  else if (found.kind === "enum") showEnum(found, output);
  else showService(found, output);
}

function showMessage(message: DescMessage, output: Output): void {
  output.list<DescField>(
    message.fields,
    [
      { header: "NUMBER", text: ({ number }) => String(number), right: true },
      { header: "FIELD", text: ({ name }) => name },
      { header: "TYPE", text: typeOf },
      { header: "JSON", text: ({ jsonName }) => jsonName },
      { header: "ONEOF", text: ({ oneof }) => oneof?.name ?? "" },
    ],
    ({ name }) => name,
  );
}

function showEnum(desc: DescEnum, output: Output): void {
  output.list(
    desc.values,
    [
      { header: "NUMBER", text: ({ number }) => String(number), right: true },
      { header: "VALUE", text: ({ name }) => name },
    ],
    ({ name }) => name,
  );
}

function showService(service: DescService, output: Output): void {
  output.list<DescMethod>(
    service.methods,
    [
      { header: "METHOD", text: ({ name }) => name },
      {
        header: "REQUEST",
        text: ({ input, proto }) => stream(proto.clientStreaming) + input.typeName,
      },
      {
        header: "ANSWER",
        text: ({ output, proto }) => stream(proto.serverStreaming) + output.typeName,
      },
    ],
    ({ name }) => name,
  );
}

async function showFile({ client, name, namespace, output, signal }: ShowRequest): Promise<void> {
  const { file } = await client.services.types.getFile({ namespace, name }, { signal });
  if (output.format !== "table") {
    if (file !== undefined) output.json(await client.toJson(file));
    return;
  }
  output.facts(
    [
      ["File", name],
      ["Version", file?.builtIn === true ? "built in" : String(file?.version ?? 0n)],
      ["Imports", (file?.fileDescriptor?.dependency ?? []).join(", ")],
      ["Messages", (file?.messageNames ?? []).join(", ")],
      ["Services", (file?.fileDescriptor?.service ?? []).map((service) => service.name).join(", ")],
    ],
    {},
  );
}

function stream(streams: boolean): string {
  return streams ? "stream " : "";
}
