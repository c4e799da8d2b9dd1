import { createFileRegistry, type DescFile } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";

/** What a file is linked against. */
export interface Imports {
  /** The files it imports, in the order of its imports. */
  readonly direct: readonly DescFile[];
  /** Files that its imports import publicly, at any depth. */
  readonly reexported: readonly DescFile[];
}

/**
 * Makes the descriptors of a file. It must have been checked, references included; the cost depends
 * on the file and on the types of the files it can see, not on what those import in turn.
 */
export function linkFile(file: FileDescriptorProto, imports: Imports): DescFile {
  const direct = new Map(imports.direct.map((desc) => [desc.proto.name, desc]));
  // createFileRegistry follows the dependencies of what it is given, over and over where files
  // share imports. A file sees no further than its public imports, so it gets just those.
  const reexported = imports.reexported.map((desc) => shallow(desc, []));
  let carried: DescFile[] = reexported;
  const registry = createFileRegistry(file, (name) => {
    const desc = direct.get(name);
    if (desc === undefined) return undefined;
    const result = shallow(desc, carried);
    carried = [];
    return result;
  });
  const linked = registry.getFile(file.name);
  if (linked === undefined) throw new Error(`linking ${file.name} gave no descriptor`);
  linked.dependencies.splice(0, linked.dependencies.length, ...imports.direct);
  return linked;
}

/** The file with the same types and other dependencies. */
function shallow(desc: DescFile, dependencies: DescFile[]): DescFile {
  return { ...desc, dependencies };
}
