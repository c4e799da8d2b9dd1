import { isFieldSet } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  type FieldDescriptorProto,
  FieldDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { quote } from "../names.ts";
import { type Features, mergeFeatures, syntaxOf } from "../schema/features.ts";
import {
  type FileIndex,
  type MessageEntry,
  qualify,
  type TypeEntry,
} from "../schema/file-index.ts";
import { messageRanges, NumberRanges } from "../schema/number-ranges.ts";
import type { Report } from "./problems.ts";

/** What the names in a file can refer to. */
export interface Scope {
  /** A type of the file itself or of a file that it imports, directly or through public imports. */
  find(fullName: string): TypeEntry | undefined;
  /** A hint for a name that was not found, as in `; import shop/v1/common.proto`, or nothing. */
  hint(name: string): string;
}

const { extendee, oneofIndex, type } = FieldDescriptorProtoSchema.field;

/**
 * Checks that every type a file refers to is there and of the right kind, and makes the references
 * absolute. A normalized file that passes both checks links.
 *
 * @returns true if all were absolute before, as compilers make them
 */
export function checkReferences(index: FileIndex, scope: Scope, report: Report): boolean {
  const check = new ReferenceCheck(index, scope, report);
  check.run();
  return check.wereAbsolute;
}

class ReferenceCheck {
  readonly #index: FileIndex;
  readonly #scope: Scope;
  readonly #report: Report;
  wereAbsolute = true;
  /** Map entries that a field of their message refers to. */
  readonly #usedEntries = new Set<string>();
  /** Extension ranges of the messages extended here. */
  readonly #ranges = new Map<MessageEntry, NumberRanges>();

  constructor(index: FileIndex, scope: Scope, report: Report) {
    this.#index = index;
    this.#scope = scope;
    this.#report = report;
  }

  run(): void {
    for (const entry of this.#index.types.values()) {
      if (entry.kind === "message") {
        for (const field of entry.proto.field) {
          this.#checkField(field, entry.fullName, entry.features, entry);
        }
      } else if (entry.kind === "service") {
        for (const method of entry.proto.method) {
          const element = `method ${qualify(entry.fullName, method.name)}`;
          method.inputType = this.#messageType(method.inputType, entry.fullName, element, "input");
          method.outputType = this.#messageType(
            method.outputType,
            entry.fullName,
            element,
            "output",
          );
        }
      }
    }
    for (const extension of this.#index.extensions) {
      this.#checkField(extension.proto, extension.scope, extension.features, undefined);
      this.#checkExtendee(extension.proto, extension.scope, extension.fullName);
    }
    for (const entry of this.#index.types.values()) {
      if (entry.kind === "message" && entry.isMapEntry && !this.#usedEntries.has(entry.fullName)) {
        this.#report(`message ${entry.fullName}`, "is a map entry that no field uses");
      }
    }
  }

  #checkField(
    field: FieldDescriptorProto,
    scopeName: string,
    inherited: Features,
    parent: MessageEntry | undefined,
  ): void {
    if (field.typeName === "") return;
    const kind = parent === undefined ? "extension" : "field";
    const element = `${kind} ${qualify(scopeName, field.name)}`;
    const target = this.#resolve(field.typeName, scopeName);
    if (target === undefined) {
      this.#reportMissing(field.typeName, element, "type");
      return;
    }
    field.typeName = `.${target.fullName}`;
    if (!isFieldSet(field, type) && target.kind !== "service") {
      field.type = target.kind === "enum" ? Type.ENUM : Type.MESSAGE;
      this.wereAbsolute = false;
    }
    const wanted = field.type === Type.ENUM ? "enum" : "message";
    if (target.kind !== wanted) {
      this.#report(
        element,
        `is of type ${quote(target.fullName)}, which is a ${target.kind} and not a ${wanted}`,
      );
    } else if (target.kind === "enum") {
      this.#checkEnumUse(field, element, inherited, parent, target.features.enumType);
    } else if (target.kind === "message" && target.isMapEntry) {
      this.#checkMapField(field, element, parent, target);
    }
  }

  #checkEnumUse(
    field: FieldDescriptorProto,
    element: string,
    inherited: Features,
    parent: MessageEntry | undefined,
    enumType: FeatureSet_EnumType,
  ): void {
    const implicit =
      parent !== undefined &&
      !parent.isMapEntry &&
      field.label !== Label.REPEATED &&
      !isFieldSet(field, oneofIndex) &&
      mergeFeatures(inherited, field.options).fieldPresence === FeatureSet_FieldPresence.IMPLICIT;
    if (implicit && enumType === FeatureSet_EnumType.CLOSED) {
      this.#report(
        element,
        `has no presence but is of a closed enum, ${quote(field.typeName.slice(1))}; make the field optional`,
      );
    }
  }

  #checkMapField(
    field: FieldDescriptorProto,
    element: string,
    parent: MessageEntry | undefined,
    entry: MessageEntry,
  ): void {
    const isMap =
      field.label === Label.REPEATED &&
      field.type === Type.MESSAGE &&
      parent !== undefined &&
      entry.parent === parent &&
      !this.#usedEntries.has(entry.fullName);
    if (!isMap) {
      this.#report(
        element,
        `refers to ${quote(entry.fullName)}, which is the entry of another map`,
      );
    }
    this.#usedEntries.add(entry.fullName);
  }

  #checkExtendee(field: FieldDescriptorProto, scopeName: string, fullName: string): void {
    const element = `extension ${fullName}`;
    if (!isFieldSet(field, extendee)) {
      this.#report(element, "has no extendee");
      return;
    }
    const target = this.#resolve(field.extendee, scopeName);
    if (target === undefined) {
      this.#reportMissing(field.extendee, element, "extended message");
      return;
    }
    field.extendee = `.${target.fullName}`;
    if (target.kind !== "message" || target.isMapEntry) {
      this.#report(element, `extends ${quote(target.fullName)}, which is not a message`);
      return;
    }
    if (!this.#extensionRanges(target, target.proto).has(field.number)) {
      this.#report(
        element,
        `number ${field.number} is in no extension range of ${quote(target.fullName)}`,
      );
    }
    const isOption = /^google\.protobuf\.[A-Za-z]+Options$/.test(target.fullName);
    if (syntaxOf(this.#index.file) === "proto3" && !isOption) {
      this.#report(element, "is in a proto3 file, where only options can be extended");
    }
  }

  #extensionRanges(target: MessageEntry, proto: DescriptorProto): NumberRanges {
    let ranges = this.#ranges.get(target);
    if (ranges === undefined) {
      ranges = new NumberRanges(messageRanges(proto.extensionRange));
      this.#ranges.set(target, ranges);
    }
    return ranges;
  }

  #messageType(name: string, scopeName: string, element: string, what: string): string {
    const target = name === "" ? undefined : this.#resolve(name, scopeName);
    if (target === undefined) {
      this.#reportMissing(name, element, `${what} type`);
      return name;
    }
    if (target.kind !== "message" || target.isMapEntry) {
      this.#report(element, `its ${what} type ${quote(target.fullName)} is not a message`);
    }
    return `.${target.fullName}`;
  }

  /** Finds a name as the language does: an absolute one by itself, others from the inside out. */
  #resolve(name: string, scopeName: string): TypeEntry | undefined {
    if (name.startsWith(".")) return this.#scope.find(name.slice(1));
    this.wereAbsolute = false;
    for (let scope = scopeName; ; scope = scope.slice(0, Math.max(0, scope.lastIndexOf(".")))) {
      const found = this.#scope.find(qualify(scope, name));
      if (found !== undefined || scope === "") return found;
    }
  }

  #reportMissing(name: string, element: string, what: string): void {
    const plain = name.startsWith(".") ? name.slice(1) : name;
    const problem = name === "" ? `has no ${what}` : `its ${what} ${quote(plain)} is not found`;
    this.#report(element, `${problem}${name === "" ? "" : this.#scope.hint(plain)}`);
  }
}
