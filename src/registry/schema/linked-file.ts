import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type FileIndex, indexFile } from "./file-index.ts";

/** The version of every file that is built in. */
export const builtInVersion = 0n;

/** A file in force: checked, indexed and linked. */
export interface LinkedFile {
  readonly name: string;
  /** 0 for a built-in file. */
  readonly version: bigint;
  readonly index: FileIndex;
  readonly desc: DescFile;
  /** The bytes of the file as it was registered. */
  readonly source: Uint8Array;
}

/** A file that comes with the server. */
export function builtInFile(desc: DescFile): LinkedFile {
  return {
    name: desc.proto.name,
    version: builtInVersion,
    index: indexFile(desc.proto),
    desc,
    source: toBinary(FileDescriptorProtoSchema, desc.proto),
  };
}

/** Names of the files that `file` imports publicly. */
export function publicImports(file: LinkedFile): string[] {
  const { dependency, publicDependency } = file.index.file;
  return publicDependency.flatMap((index) => dependency[index] ?? []);
}

/** A name and every name before its dots: `a.b.c`, `a.b`, `a`. Nothing for the empty name. */
export function prefixes(name: string): string[] {
  const result: string[] = [];
  for (let end = name.length; end > 0; end = name.lastIndexOf(".", end - 1)) {
    result.push(name.slice(0, end));
  }
  return result;
}
