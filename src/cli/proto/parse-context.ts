import {
  Edition,
  type EnumDescriptorProto,
  type FileDescriptorProto,
  SymbolVisibility,
} from "@bufbuild/protobuf/wkt";
import type { OptionSetting } from "./option-parser.ts";
import type { DefaultStatement, Element, Marks } from "./parsed-file.ts";
import type { TokenReader } from "./token-reader.ts";

/** What the parsers of one file share. */
export interface ParseContext {
  readonly reader: TokenReader;
  readonly marks: Marks;
  readonly file: FileDescriptorProto;
  readonly defaults: DefaultStatement[];
  syntax(): "proto2" | "proto3" | "editions";
  /** Reads `name = value` and keeps it for the element. */
  addOption(element: Element, scope: string): void;
  addParsedOption(element: Element, scope: string, setting: OptionSetting): void;
  parseEnum(scope: string, visibility: SymbolVisibility | undefined): EnumDescriptorProto;
}

/** A reserved name: a string, or a plain word as editions have it. */
export function parseReservedName(reader: TokenReader): string {
  return reader.peek().kind === "word"
    ? reader.word("a reserved name").text
    : reader.text("a reserved name");
}

/** Whether the edition of a file has `export`, `local` and `import option`. */
export function hasVisibility(file: FileDescriptorProto): boolean {
  return file.syntax === "editions" && file.edition >= Edition.EDITION_2024;
}

/** Takes the `export` or `local` in front of a message or enum. */
export function takeVisibility({ reader, file }: ParseContext): SymbolVisibility | undefined {
  const word = reader.peek();
  if (word.text !== "export" && word.text !== "local") return undefined;
  const follower = reader.peek(1).text;
  if (!hasVisibility(file) || (follower !== "message" && follower !== "enum")) return undefined;
  reader.next();
  return word.text === "export"
    ? SymbolVisibility.VISIBILITY_EXPORT
    : SymbolVisibility.VISIBILITY_LOCAL;
}
