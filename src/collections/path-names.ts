import type { DescField, DescMessage } from "@bufbuild/protobuf";

/** A field by its proto or JSON name. */
export function fieldByName(desc: DescMessage, name: string): DescField | undefined {
  return (
    desc.fields.find((field) => field.name === name) ??
    desc.fields.find((field) => field.jsonName === name)
  );
}

/** The names in a dotted path, or why it is none. Names in backticks may hold dots; two make one. */
export function splitPath(path: string): string[] | string {
  const segments: string[] = [];
  let rest = path;
  for (;;) {
    const match = /^(?:`((?:[^`]|``)+)`|([^.`]+))(?:\.|$)/.exec(rest);
    if (match === null) return "it is no dotted path of field names";
    segments.push(match[1]?.replaceAll("``", "`") ?? match[2] ?? "");
    rest = rest.slice(match[0].length);
    if (rest === "") return match[0].endsWith(".") ? "it ends in a dot" : segments;
  }
}

/** The path of these names: those that are no plain name stand in backticks. */
export function joinPath(names: readonly string[]): string {
  return names
    .map((name) => (/[.`\s]|^$/.test(name) ? `\`${name.replaceAll("`", "``")}\`` : name))
    .join(".");
}
