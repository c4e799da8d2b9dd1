import {
  Edition,
  type FeatureSet,
  FeatureSet_EnumType,
  FeatureSet_FieldPresence,
  FeatureSet_JsonFormat,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  type FileDescriptorProto,
} from "@bufbuild/protobuf/wkt";

/** What decides how an element of a file behaves, resolved from its syntax or edition and options. */
export interface Features {
  readonly fieldPresence: FeatureSet_FieldPresence;
  readonly enumType: FeatureSet_EnumType;
  readonly repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding;
  readonly messageEncoding: FeatureSet_MessageEncoding;
  readonly jsonFormat: FeatureSet_JsonFormat;
}

const proto2: Features = {
  fieldPresence: FeatureSet_FieldPresence.EXPLICIT,
  enumType: FeatureSet_EnumType.CLOSED,
  repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.EXPANDED,
  messageEncoding: FeatureSet_MessageEncoding.LENGTH_PREFIXED,
  jsonFormat: FeatureSet_JsonFormat.LEGACY_BEST_EFFORT,
};

const proto3: Features = {
  fieldPresence: FeatureSet_FieldPresence.IMPLICIT,
  enumType: FeatureSet_EnumType.OPEN,
  repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.PACKED,
  messageEncoding: FeatureSet_MessageEncoding.LENGTH_PREFIXED,
  jsonFormat: FeatureSet_JsonFormat.ALLOW,
};

/** The same in every edition so far. */
const editions: Features = { ...proto3, fieldPresence: FeatureSet_FieldPresence.EXPLICIT };

export type Syntax = "proto2" | "proto3" | "editions";

/** The syntax of a file, or undefined if it is none that is known. */
export function syntaxOf(file: FileDescriptorProto): Syntax | undefined {
  switch (file.syntax) {
    case "":
    case "proto2":
      return "proto2";
    case "proto3":
      return "proto3";
    case "editions":
      return "editions";
    default:
      return undefined;
  }
}

/** The editions whose files can be served. */
export const supportedEditions: readonly Edition[] = [
  Edition.EDITION_2023,
  Edition.EDITION_2024,
  Edition.EDITION_2026,
];

/** The features of a file, from which those of its elements derive. */
export function fileFeatures(file: FileDescriptorProto): Features {
  const syntax = syntaxOf(file);
  const base = syntax === "editions" ? editions : syntax === "proto3" ? proto3 : proto2;
  return mergeFeatures(base, file.options);
}

/** The features of an element: its own where it sets them, else those of what holds it. */
export function mergeFeatures(
  parent: Features,
  options: { readonly features?: FeatureSet | undefined } | undefined,
): Features {
  const own = options?.features;
  if (own === undefined) return parent;
  return {
    fieldPresence: own.fieldPresence || parent.fieldPresence,
    enumType: own.enumType || parent.enumType,
    repeatedFieldEncoding: own.repeatedFieldEncoding || parent.repeatedFieldEncoding,
    messageEncoding: own.messageEncoding || parent.messageEncoding,
    jsonFormat: own.jsonFormat || parent.jsonFormat,
  };
}
