import { create, fromBinary } from "@bufbuild/protobuf";
import {
  FileDescriptorProtoSchema,
  type FileDescriptorSet,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import type { BuiltIns } from "./built-ins.ts";
import { quote } from "./names.ts";
import type { NamespaceState } from "./namespace-state.ts";
import type { LinkedFile } from "./schema/linked-file.ts";
import type { NamespaceSnapshot } from "./snapshot.ts";

/**
 * Files with all they import, each once, after its imports.
 *
 * @throws {CollectorError} FILE_NOT_FOUND, TYPE_NOT_FOUND, TYPE_AMBIGUOUS
 */
export function closureOf(
  state: NamespaceState,
  builtIns: BuiltIns,
  snapshot: NamespaceSnapshot,
  fileNames: readonly string[],
  symbols: readonly string[],
): FileDescriptorSet {
  const find = (name: string): LinkedFile => {
    const file = state.files.get(name)?.linked ?? builtIns.files.get(name);
    if (file !== undefined) return file;
    throw new CollectorError(
      "FILE_NOT_FOUND",
      `there is no file ${quote(name)} in namespace ${state.namespace}${didYouMean(name, state.files.keys())}`,
      { subject: { namespace: state.namespace, file: name.slice(0, 512) } },
    );
  };
  const roots = fileNames.map(find);
  for (const symbol of symbols) roots.push(find(fileOfSymbol(snapshot, symbol)));
  if (fileNames.length === 0 && symbols.length === 0) {
    roots.push(...[...state.files.values()].map(({ linked }) => linked));
  }
  const files = importsFirst(roots, find).map(({ source }) =>
    fromBinary(FileDescriptorProtoSchema, source),
  );
  return create(FileDescriptorSetSchema, { file: files });
}

/** Any registered type or extension by its full name; a message also by a short one. */
function fileOfSymbol(snapshot: NamespaceSnapshot, symbol: string): string {
  const plain = symbol.replace(/^\./, "");
  const desc = snapshot.types.get(plain) ?? snapshot.message(plain);
  return desc.file.proto.name;
}

/** Imports do not go round, and are followed without recursion: chains of them may be long. */
function importsFirst(
  roots: readonly LinkedFile[],
  find: (name: string) => LinkedFile,
): readonly LinkedFile[] {
  const done = new Set<LinkedFile>();
  const entered = new Set<LinkedFile>();
  const pending = roots.toReversed();
  for (let file = pending.at(-1); file !== undefined; file = pending.at(-1)) {
    if (entered.has(file)) {
      pending.pop();
      done.add(file);
      continue;
    }
    entered.add(file);
    for (const name of file.index.file.dependency.toReversed()) {
      const imported = find(name);
      if (!entered.has(imported)) pending.push(imported);
    }
  }
  return [...done];
}
