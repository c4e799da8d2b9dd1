import { fromBinary } from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { CollectorError, invalidField } from "../errors.ts";
import type { RegisteredService } from "../gen/collector/registry_pb.ts";
import { didYouMean } from "../lib/suggest.ts";
import type { BuiltIns } from "./built-ins.ts";
import type { IncomingFile } from "./intake.ts";
import { quote, refuseEmpty } from "./names.ts";
import { NamespaceDraft, type NamespaceState } from "./namespace-state.ts";
import type { RegistrationPlan } from "./registration.ts";
import { prefixes } from "./schema/linked-file.ts";
import type { NamespaceSnapshot } from "./snapshot.ts";
import type { TypeUsage } from "./type-usage.ts";
import { checkUnused } from "./usage-check.ts";

export interface FileRemoval {
  /** Records of all its versions. */
  readonly recordIds: readonly string[];
  /** Full names of what it defined, without map entries. */
  readonly types: string[];
  readonly draft: NamespaceDraft;
}

/** @throws {CollectorError} ARGUMENT_MISSING, FILE_NOT_FOUND, FILE_IN_USE, TYPE_IN_USE, ARGUMENT_INVALID */
export function planFileRemoval(
  state: NamespaceState,
  builtIns: BuiltIns,
  name: string,
  usage: TypeUsage,
): FileRemoval {
  const { namespace } = state;
  const file = state.files.get(name);
  if (file === undefined) {
    refuseEmpty(name, "name", "file");
    if (builtIns.files.has(name)) {
      throw invalidField("ARGUMENT_INVALID", "name", `${quote(name)} is built in and stays`);
    }
    throw new CollectorError(
      "FILE_NOT_FOUND",
      `there is no file ${quote(name)} in namespace ${namespace}${didYouMean(name, state.files.keys())}`,
      { subject: { namespace, file: name.slice(0, 512) } },
    );
  }
  for (const [importer, { linked }] of state.files) {
    if (!linked.index.file.dependency.includes(name)) continue;
    throw new CollectorError(
      "FILE_IN_USE",
      `${importer} in namespace ${namespace} imports ${name}; unregister it first`,
      { subject: { namespace, file: importer } },
    );
  }
  const types = new Set<string>();
  for (const entry of file.linked.index.types.values()) {
    if (entry.kind !== "message" || !entry.isMapEntry) types.add(entry.fullName);
  }
  checkUnused(state, types, usage);
  const draft = new NamespaceDraft(state, builtIns);
  draft.remove(name);
  return { recordIds: file.versions.map(({ id }) => id), types: [...types], draft };
}

/**
 * A service that can be unregistered.
 *
 * @throws {CollectorError} ARGUMENT_MISSING, SERVICE_NOT_FOUND, TYPE_AMBIGUOUS, ARGUMENT_INVALID
 */
export function findRegistered(
  snapshot: NamespaceSnapshot,
  state: NamespaceState,
  name: string,
): RegisteredService {
  refuseEmpty(name, "name", "service");
  const { typeName } = snapshot.service(name);
  const registered = state.services.get(typeName);
  if (registered !== undefined) return registered.record;
  const problem = `${quote(typeName)} is built in; switch it off by disabled_services of the namespace`;
  throw invalidField("ARGUMENT_INVALID", "name", problem);
}

/**
 * @param plan works out the registration of the file without the type
 * @throws {CollectorError} ARGUMENT_MISSING, TYPE_NOT_FOUND, TYPE_AMBIGUOUS, TYPE_IN_USE,
 * ARGUMENT_INVALID
 */
export async function planTypeRemoval(
  snapshot: NamespaceSnapshot,
  state: NamespaceState,
  name: string,
  plan: (incoming: readonly IncomingFile[]) => Promise<RegistrationPlan>,
): Promise<RegistrationPlan> {
  const plain = name.replace(/^\./, "");
  refuseEmpty(plain, "name", "type");
  const desc = snapshot.types.getEnum(plain) ?? snapshot.message(plain);
  const fullName = desc.typeName;
  const source = state.files.get(desc.file.proto.name)?.versions.at(-1)?.source;
  if (source === undefined) {
    throw invalidField("ARGUMENT_INVALID", "name", `${quote(fullName)} is built in and stays`);
  }
  const file = fromBinary(FileDescriptorProtoSchema, source);
  takeOut(file, fullName);
  try {
    return await plan([{ file, field: "name" }]);
  } catch (error) {
    // The file was valid with the type, so what is wrong now is that something in it needs it.
    if (!(error instanceof CollectorError) || error.reason !== "DESCRIPTOR_INVALID") throw error;
    throw new CollectorError(
      "TYPE_IN_USE",
      `${fullName} is in use by its own file: ${error.message}`,
      { subject: { namespace: state.namespace, type: fullName }, cause: error },
    );
  }
}

const messageTypeOfFile = 4;
const enumTypeOfFile = 5;
const nestedTypeOfMessage = 3;
const enumTypeOfMessage = 4;

/** Takes a message or an enum out of a file, and the comments on it. */
function takeOut(file: FileDescriptorProto, fullName: string): void {
  const path: number[] = [];
  let messages: DescriptorProto[] = file.messageType;
  let enums = file.enumType;
  let scope = file.package;
  let [messageField, enumField] = [messageTypeOfFile, enumTypeOfFile];
  // From the outermost name to the type itself.
  for (const step of prefixes(fullName).toReversed()) {
    if (scope !== "" && !step.startsWith(`${scope}.`)) continue;
    const name = step.slice(scope === "" ? 0 : scope.length + 1);
    const index = messages.findIndex((message) => message.name === name);
    const message = messages[index];
    if (step === fullName) {
      const enumIndex = enums.findIndex((candidate) => candidate.name === name);
      if (message === undefined) enums.splice(enumIndex, 1);
      else messages.splice(index, 1);
      dropLocations(
        file,
        path,
        message === undefined ? enumField : messageField,
        message === undefined ? enumIndex : index,
      );
      return;
    }
    if (message === undefined) continue;
    path.push(messageField, index);
    scope = step;
    messages = message.nestedType;
    enums = message.enumType;
    [messageField, enumField] = [nestedTypeOfMessage, enumTypeOfMessage];
  }
}

/** Comments are found by positions in the file, which move when an element goes. */
function dropLocations(
  file: FileDescriptorProto,
  parent: readonly number[],
  field: number,
  removed: number,
): void {
  const info = file.sourceCodeInfo;
  if (info === undefined) return;
  const at = parent.length + 1;
  const isSibling = (path: readonly number[]) =>
    path.length > at - 1 && path[at - 1] === field && parent.every((step, i) => path[i] === step);
  info.location = info.location.filter(({ path }) => !isSibling(path) || path[at] !== removed);
  for (const { path } of info.location) {
    const index = path[at];
    if (isSibling(path) && index !== undefined && index > removed) path[at] = index - 1;
  }
}
