import { FeatureSet_JsonFormat, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { quote } from "../names.ts";
import type {
  EnumEntry,
  FileIndex,
  MessageEntry,
  ServiceEntry,
  TypeEntry,
} from "../schema/file-index.ts";
import {
  enumRanges,
  messageRanges,
  type NumberRange,
  NumberRanges,
} from "../schema/number-ranges.ts";
import { type FieldPlace, fieldChanges, isRequired } from "./field-changes.ts";
import type { Change, ReportChange, Rule, TypesAround } from "./rules.ts";

/**
 * What makes a version of a file incompatible with an earlier one, by the rules of buf's category
 * WIRE_JSON. Rules about a type apply if both versions have it, so that a type may be taken away;
 * whether anything uses it is for others to ask.
 */
export function breakingChanges(
  before: FileIndex,
  after: FileIndex,
  around: TypesAround,
): readonly Change[] {
  const changes: Change[] = [];
  const report: ReportChange = (rule, description) => changes.push({ rule, description });
  if (before.file.package !== after.file.package) {
    const [was, is] = [before.file.package, after.file.package].map(quote);
    report("FILE_SAME_PACKAGE", `the package changed from ${was} to ${is}`);
  }
  for (const old of before.types.values()) {
    // A message may have moved to another file of the namespace.
    compareTypes(old, around.after(old.fullName), around, report);
  }
  compareExtensions(before, after, around, report);
  return changes;
}

function compareTypes(
  old: TypeEntry,
  now: TypeEntry | undefined,
  around: TypesAround,
  report: ReportChange,
): void {
  if (old.kind === "message" && now?.kind === "message") compareMessages(old, now, around, report);
  else if (old.kind === "enum" && now?.kind === "enum") compareEnums(old, now, report);
  else if (old.kind === "service" && now?.kind === "service") compareServices(old, now, report);
}

function compareMessages(
  old: MessageEntry,
  now: MessageEntry,
  around: TypesAround,
  report: ReportChange,
): void {
  const name = old.fullName;
  compareJsonFormat("MESSAGE_SAME_JSON_FORMAT", `message ${name}`, old, now, report);
  const reserved = new NumberRanges(messageRanges(now.proto.reservedRange));
  compareReserved(
    "RESERVED_MESSAGE_NO_DELETE",
    `message ${name}`,
    messageRanges(old.proto.reservedRange),
    reserved,
    old.proto.reservedName,
    now.proto.reservedName,
    report,
  );
  const reservedNames = new Set(now.proto.reservedName);
  const fields = new Map(now.proto.field.map((field) => [field.number, field]));
  for (const field of old.proto.field) {
    const same = fields.get(field.number);
    if (same !== undefined) {
      const places: [FieldPlace, FieldPlace] = [
        { field, features: old.features, message: old },
        { field: same, features: now.features, message: now },
      ];
      fieldChanges(`field ${name}.${field.name}`, ...places, around, report);
      continue;
    }
    const what = `field ${name}.${field.name} was deleted without reserving`;
    if (!reserved.has(field.number)) {
      report("FIELD_NO_DELETE_UNLESS_NUMBER_RESERVED", `${what} its number ${field.number}`);
    }
    if (!reservedNames.has(field.name)) {
      report("FIELD_NO_DELETE_UNLESS_NAME_RESERVED", `${what} its name`);
    }
  }
  compareRequired(old, now, report);
}

function compareRequired(old: MessageEntry, now: MessageEntry, report: ReportChange): void {
  const required = (entry: MessageEntry) =>
    new Map(
      entry.proto.field
        .filter((field) => isRequired({ field, features: entry.features, message: entry }))
        .map((field) => [field.number, field.name]),
    );
  const before = required(old);
  const after = required(now);
  const rule = "MESSAGE_SAME_REQUIRED_FIELDS";
  for (const [number, field] of before) {
    if (!after.has(number)) report(rule, `field ${old.fullName}.${field} is no longer required`);
  }
  for (const [number, field] of after) {
    if (!before.has(number)) report(rule, `field ${old.fullName}.${field} is required now`);
  }
}

function compareEnums(old: EnumEntry, now: EnumEntry, report: ReportChange): void {
  const element = `enum ${old.fullName}`;
  compareJsonFormat("ENUM_SAME_JSON_FORMAT", element, old, now, report);
  const reserved = new NumberRanges(enumRanges(now.proto.reservedRange));
  compareReserved(
    "RESERVED_ENUM_NO_DELETE",
    element,
    enumRanges(old.proto.reservedRange),
    reserved,
    old.proto.reservedName,
    now.proto.reservedName,
    report,
  );
  const reservedNames = new Set(now.proto.reservedName);
  const after = namesByNumber(now);
  for (const [number, names] of namesByNumber(old)) {
    const same = after.get(number);
    const listed = [...names].join(", ");
    if (same !== undefined) {
      // An alias may be added, and a name may not go.
      if (!names.isSubsetOf(same)) {
        const is = [...same].join(", ");
        report(
          "ENUM_VALUE_SAME_NAME",
          `value ${number} of ${element} changed its name from ${listed} to ${is}`,
        );
      }
      continue;
    }
    const what = `value ${listed} = ${number} of ${element} was deleted without reserving`;
    if (!reserved.has(number)) {
      report("ENUM_VALUE_NO_DELETE_UNLESS_NUMBER_RESERVED", `${what} its number`);
    }
    if (!names.isSubsetOf(reservedNames)) {
      report("ENUM_VALUE_NO_DELETE_UNLESS_NAME_RESERVED", `${what} its name`);
    }
  }
}

function namesByNumber({ proto }: EnumEntry): Map<number, Set<string>> {
  const names = new Map<number, Set<string>>();
  for (const { number, name } of proto.value) {
    const set = names.get(number);
    if (set === undefined) names.set(number, new Set([name]));
    else set.add(name);
  }
  return names;
}

function compareServices(old: ServiceEntry, now: ServiceEntry, report: ReportChange): void {
  const methods = new Map(now.proto.method.map((method) => [method.name, method]));
  for (const was of old.proto.method) {
    const is = methods.get(was.name);
    if (is === undefined) continue;
    const element = `method ${old.fullName}.${was.name}`;
    const compare = (rule: Rule, what: string, a: unknown, b: unknown): void => {
      if (a !== b) report(rule, `${element} changed its ${what} from ${String(a)} to ${String(b)}`);
    };
    const level = (value: MethodOptions_IdempotencyLevel | undefined) =>
      MethodOptions_IdempotencyLevel[value ?? MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN];
    compare("RPC_SAME_REQUEST_TYPE", "request type", was.inputType, is.inputType);
    compare("RPC_SAME_RESPONSE_TYPE", "response type", was.outputType, is.outputType);
    const streams = [was, is].map((m) => [m.clientStreaming, m.serverStreaming]);
    const [[wasClient, wasServer] = [], [isClient, isServer] = []] = streams;
    compare("RPC_SAME_CLIENT_STREAMING", "client streaming", wasClient, isClient);
    compare("RPC_SAME_SERVER_STREAMING", "server streaming", wasServer, isServer);
    compare(
      "RPC_SAME_IDEMPOTENCY_LEVEL",
      "idempotency level",
      level(was.options?.idempotencyLevel),
      level(is.options?.idempotencyLevel),
    );
  }
}

function compareExtensions(
  before: FileIndex,
  after: FileIndex,
  around: TypesAround,
  report: ReportChange,
): void {
  const byTarget = new Map(
    after.extensions.map((entry) => [`${entry.proto.extendee}:${entry.proto.number}`, entry]),
  );
  for (const old of before.extensions) {
    const now = byTarget.get(`${old.proto.extendee}:${old.proto.number}`);
    if (now === undefined) continue;
    const element = `extension ${old.fullName}`;
    if (old.fullName !== now.fullName) {
      report("FIELD_SAME_NAME", `${element} changed its name to ${now.fullName}`);
    }
    const places: [FieldPlace, FieldPlace] = [
      { field: old.proto, features: old.features, message: undefined },
      { field: now.proto, features: now.features, message: undefined },
    ];
    fieldChanges(element, ...places, around, report);
  }
}

function compareReserved(
  rule: Rule,
  element: string,
  rangesBefore: readonly NumberRange[],
  rangesAfter: NumberRanges,
  namesBefore: readonly string[],
  namesAfter: readonly string[],
  report: ReportChange,
): void {
  for (const range of rangesBefore) {
    if (rangesAfter.covers(range)) continue;
    const numbers =
      range.first === range.last ? `${range.first}` : `${range.first} to ${range.last}`;
    report(rule, `${element} no longer reserves ${numbers}`);
  }
  const after = new Set(namesAfter);
  for (const name of namesBefore) {
    if (!after.has(name)) report(rule, `${element} no longer reserves the name ${quote(name)}`);
  }
}

function compareJsonFormat(
  rule: Rule,
  element: string,
  old: MessageEntry | EnumEntry,
  now: MessageEntry | EnumEntry,
  report: ReportChange,
): void {
  const { ALLOW } = FeatureSet_JsonFormat;
  if (old.features.jsonFormat === ALLOW && now.features.jsonFormat !== ALLOW) {
    report(rule, `${element} no longer promises to have a JSON form`);
  }
}
