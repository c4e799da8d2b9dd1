import type {
  DescriptorProto,
  EnumDescriptorProto,
  EnumValueDescriptorProto,
  FieldDescriptorProto,
  FileDescriptorProto,
  MethodDescriptorProto,
  OneofDescriptorProto,
  ServiceDescriptorProto,
} from "@bufbuild/protobuf/wkt";
import type { OptionSetting, OptionValue } from "./option-parser.ts";
import type { Position } from "./problem.ts";

/** Whatever of a file has a name and options of its own. */
export type Element =
  | FileDescriptorProto
  | DescriptorProto
  | DescriptorProto["extensionRange"][number]
  | EnumDescriptorProto
  | EnumValueDescriptorProto
  | FieldDescriptorProto
  | OneofDescriptorProto
  | ServiceDescriptorProto
  | MethodDescriptorProto;

/** The part of an element that a position is about. */
export type Part = "name" | "number" | "type" | "extendee" | "input" | "output";

/** Where the elements of a file stand in its text. */
export class Marks {
  readonly #positions = new Map<object, Partial<Record<Part, Position>>>();

  set(element: object, part: Part, { line, column }: Position): void {
    const parts = this.#positions.get(element) ?? {};
    parts[part] = { line, column };
    this.#positions.set(element, parts);
  }

  get(element: object, part: Part): Position | undefined {
    const parts = this.#positions.get(element);
    return parts?.[part] ?? parts?.name;
  }
}

/** Options set on one element, before their names and values are understood. */
export interface OptionStatement {
  readonly element: Element;
  /** Full name of the scope in which the names of extensions are looked up. */
  readonly scope: string;
  readonly setting: OptionSetting;
}

/** A field's `default = value`. */
export interface DefaultStatement {
  readonly field: FieldDescriptorProto;
  readonly value: OptionValue;
}

/** A file as it was written: type names are as in the text, options are kept apart. */
export interface ParsedFile {
  readonly proto: FileDescriptorProto;
  readonly marks: Marks;
  /** Where each import stands, by its path. */
  readonly importPositions: ReadonlyMap<string, Position>;
  readonly options: readonly OptionStatement[];
  readonly defaults: readonly DefaultStatement[];
}

/** Where problems of the file in hand go. */
export type Report = (element: object, part: Part, message: string) => void;
