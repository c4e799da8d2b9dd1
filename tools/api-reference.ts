/**
 * Writes `docs/api.md`: every service, method, message and enum of the API with the comments of `proto/`.
 *
 * Run by `npm run generate`, after which the file has to be as it is committed.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  createFileRegistry,
  type DescEnum,
  type DescField,
  type DescFile,
  type DescMessage,
  type DescMethod,
  fromBinary,
  ScalarType,
} from "@bufbuild/protobuf";

import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { getComments } from "@bufbuild/protoplugin";

const root = join(import.meta.dirname, "..");

const image = execFileSync("buf", ["build", "--as-file-descriptor-set", "-o", "-"], {
  cwd: root,
  maxBuffer: 64 * 1024 * 1024,
});
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, image));
const files = [...registry.files]
  .filter(({ proto }) => proto.package === "collector")
  .sort((a, b) => (a.name < b.name ? -1 : 1));

const lines: string[] = [
  "# API reference",
  "",
  "Made from the comments of [proto/collector](../proto/collector) by `npm run generate`; do not edit. What all",
  "methods have in common (errors, namespaces, paging, JSON) is at the top of",
  "[common.proto](../proto/collector/common.proto), and every reason of an error in [errors.md](errors.md).",
  "",
  "A method is called as `/collector.<Service>/<Method>`, by gRPC, gRPC-Web, Connect or POST with JSON.",
  "",
  "## Services",
  "",
];
for (const file of files) {
  for (const { name, methods } of file.services) {
    const names = methods.map((method) => `[${method.name}](#${anchorOf(method)})`).join(", ");
    lines.push(`- **${name}**: ${names}`);
  }
}
for (const file of files) for (const service of file.services) writeService(service);
lines.push("", "## Messages");
for (const file of files) for (const message of file.messages) writeMessage(message);
lines.push("", "## Enums");
for (const file of files) {
  for (const desc of enumsOf(file)) writeEnum(desc);
}
writeFileSync(join(root, "docs/api.md"), `${lines.join("\n")}\n`);

function writeService(service: DescFile["services"][number]): void {
  lines.push("", `## ${service.name}`, "", ...commentOf(service));
  for (const method of service.methods) {
    const { input, output, proto } = method;
    const signature = `${streamed(proto.clientStreaming)}${link(input)} → ${streamed(proto.serverStreaming)}${link(output)}`;
    lines.push("", `### ${service.name}.${method.name}`, "", signature, "", ...commentOf(method));
  }
}

function writeMessage(message: DescMessage): void {
  if (message.proto.options?.mapEntry === true) return;
  lines.push("", `### ${shortName(message.typeName)}`, "", ...commentOf(message));
  if (message.fields.length > 0) lines.push("", "| # | field | type | |", "|--:|---|---|---|");
  for (const field of message.fields) {
    const oneof = field.oneof === undefined ? "" : `One of \`${field.oneof.name}\`. `;
    const text = commentOf(field).join(" ").replaceAll("|", "\\|");
    lines.push(`| ${field.number} | \`${field.name}\` | ${typeOf(field)} | ${oneof}${text} |`);
  }
  for (const nested of message.nestedMessages) writeMessage(nested);
}

function writeEnum(desc: DescEnum): void {
  lines.push("", `### ${shortName(desc.typeName)}`, "", ...commentOf(desc), "");
  lines.push("| # | value | |", "|--:|---|---|");
  for (const value of desc.values) {
    lines.push(`| ${value.number} | \`${value.name}\` | ${commentOf(value).join(" ")} |`);
  }
}

function enumsOf(parent: DescFile | DescMessage): readonly DescEnum[] {
  const [enums, messages] =
    parent.kind === "file"
      ? [parent.enums, parent.messages]
      : [parent.nestedEnums, parent.nestedMessages];
  return [...enums, ...messages.flatMap(enumsOf)];
}

/** The comment above, a line each, without the space that each begins with. */
function commentOf(desc: Parameters<typeof getComments>[0]): readonly string[] {
  const { leading = "" } = getComments(desc);
  return leading
    .trimEnd()
    .split("\n")
    .map((line) => line.replace(/^ /, "").replaceAll("<", "&lt;"));
}

function typeOf(field: DescField): string {
  if (field.fieldKind === "map") {
    const value =
      field.mapKind === "scalar" ? scalarName(field.scalar) : link(field.message ?? field.enum);
    return `map of ${scalarName(field.mapKey)} to ${value}`;
  }
  const repeated = field.fieldKind === "list" ? "repeated " : "";
  if (field.message !== undefined) return repeated + link(field.message);
  if (field.enum !== undefined) return repeated + link(field.enum);
  return repeated + scalarName(field.scalar);
}

function link(desc: DescMessage | DescEnum): string {
  const name = shortName(desc.typeName);
  if (!desc.typeName.startsWith("collector.")) return desc.typeName;
  return `[${name}](#${name.toLowerCase().replaceAll(".", "")})`;
}

function anchorOf(method: DescMethod): string {
  return `${method.parent.name}${method.name}`.toLowerCase();
}

function shortName(typeName: string): string {
  return typeName.replace(/^collector\./, "");
}

function scalarName(type: ScalarType): string {
  return ScalarType[type].toLowerCase();
}

function streamed(streams: boolean): string {
  return streams ? "stream of " : "";
}
