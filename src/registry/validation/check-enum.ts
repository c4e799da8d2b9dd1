import type { EnumDescriptorProto } from "@bufbuild/protobuf/wkt";
import { FeatureSet_EnumType } from "@bufbuild/protobuf/wkt";
import { type Features, mergeFeatures } from "../schema/features.ts";
import { qualify } from "../schema/file-index.ts";
import { enumRanges, NumberRanges } from "../schema/number-ranges.ts";
import { checkOptions, type FileContext, ScopeNames } from "./context.ts";
import { checkFullName, checkIdentifier } from "./identifiers.ts";

/** Checks an enum, and puts its values among the names of its scope. */
export function checkEnum(
  proto: EnumDescriptorProto,
  scope: string,
  names: ScopeNames,
  inherited: Features,
  context: FileContext,
): void {
  const { report } = context;
  const fullName = qualify(scope, proto.name);
  const element = `enum ${fullName}`;
  checkIdentifier(proto.name, element, report);
  checkFullName(fullName, element, report);
  names.declare(proto.name, element);
  checkOptions(proto.options, element, context);

  const features = mergeFeatures(inherited, proto.options);
  const first = proto.value[0];
  if (first === undefined) {
    report(element, "has no values; it needs at least one");
  } else if (features.enumType === FeatureSet_EnumType.OPEN && first.number !== 0) {
    report(
      element,
      `its first value is ${first.number}; the first value of an open enum must be 0`,
    );
  }

  const reserved = new NumberRanges(enumRanges(proto.reservedRange));
  for (const range of proto.reservedRange) {
    if (range.end < range.start) {
      report(element, `reserved range ${range.start} to ${range.end} ends before it starts`);
    }
  }
  if (reserved.overlap !== undefined) {
    const [a, b] = reserved.overlap;
    report(element, `reserved ranges overlap at ${Math.max(a.first, b.first)}`);
  }
  const reservedNames = new Set(proto.reservedName);
  if (reservedNames.size < proto.reservedName.length) {
    report(element, "reserves a name twice");
  }

  const byNumber = new Map<number, string>();
  for (const value of proto.value) {
    const valueElement = `enum value ${qualify(fullName, value.name)}`;
    checkIdentifier(value.name, valueElement, report);
    checkOptions(value.options, valueElement, context);
    names.declare(value.name, valueElement);
    if (reserved.has(value.number)) report(valueElement, `number ${value.number} is reserved`);
    if (reservedNames.has(value.name)) report(valueElement, "the name is reserved");
    const other = byNumber.get(value.number);
    if (other === undefined) {
      byNumber.set(value.number, value.name);
    } else if (proto.options?.allowAlias !== true) {
      report(
        valueElement,
        `number ${value.number} is also that of ${other}; set allow_alias if both are meant`,
      );
    }
  }
}
