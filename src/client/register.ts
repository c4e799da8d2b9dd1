import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { Services } from "./services.ts";

/** What one call to the registry may hold, less room for what is around the descriptors. */
const callBytesMax = 500 * 1024;

export interface RegisterOptions {
  readonly namespace: string;
  /** Checks and registers nothing. */
  readonly validateOnly?: boolean;
  readonly signal?: AbortSignal;
}

/** What became of one file. */
export interface RegisteredFileResult {
  readonly name: string;
  readonly version: bigint;
  /** The namespace had the file with this content before. */
  readonly unchanged: boolean;
}

/**
 * Registers files in as few calls as the limit on a call allows; each call is all or nothing, so
 * after a failure the files of earlier calls are registered.
 *
 * @param files each behind what it imports; imports may be missing if the namespace has them
 */
export async function registerFiles(
  registry: Services["registry"],
  files: readonly FileDescriptorProto[],
  options: RegisterOptions,
): Promise<RegisteredFileResult[]> {
  const results = new Map<string, RegisteredFileResult>();
  const { namespace, validateOnly = false, signal } = options;
  for (const call of planCalls(files)) {
    const [fileDescriptor, ...dependencies] = call.toReversed();
    if (fileDescriptor === undefined) continue;
    const response = await registry.registerProto(
      { namespace, fileDescriptor, dependencies: dependencies.toReversed(), validateOnly },
      signal === undefined ? {} : { signal },
    );
    for (const { name, version, unchanged } of response.files) {
      results.set(name, { name, version, unchanged });
    }
  }
  const names = new Set(files.map(({ name }) => name));
  return [...results.values()].filter(({ name }) => names.has(name));
}

/**
 * Splits files into calls. A call is a file and those that it needs and that no earlier call has
 * brought; what is too much for one call is brought by calls of its own first.
 */
export function planCalls(files: readonly FileDescriptorProto[]): FileDescriptorProto[][] {
  const byName = new Map(files.map((file) => [file.name, file]));
  const sizes = new Map(
    files.map((file) => [file.name, toBinary(FileDescriptorProtoSchema, file).byteLength]),
  );
  const sent = new Set<string>();
  const calls: FileDescriptorProto[][] = [];
  const send = (file: FileDescriptorProto): void => {
    const closure = missingClosure(file, byName, sent);
    const bytes = closure.reduce((sum, { name }) => sum + (sizes.get(name) ?? 0), 0);
    if (bytes > callBytesMax && closure.length > 1) {
      for (const dependency of closure.slice(0, -1)) {
        if (!sent.has(dependency.name)) send(dependency);
      }
      send(file);
      return;
    }
    for (const { name } of closure) sent.add(name);
    calls.push(closure);
  };
  // From the end: the files that import most bring the others along.
  for (const file of files.toReversed()) {
    if (!sent.has(file.name)) send(file);
  }
  return calls;
}

/** A file behind everything that it imports and that is not sent yet. */
function missingClosure(
  file: FileDescriptorProto,
  byName: ReadonlyMap<string, FileDescriptorProto>,
  sent: ReadonlySet<string>,
): FileDescriptorProto[] {
  const closure = new Map<string, FileDescriptorProto>();
  const visit = (current: FileDescriptorProto): void => {
    if (closure.has(current.name) || sent.has(current.name)) return;
    for (const name of [...current.dependency, ...current.optionDependency]) {
      const dependency = byName.get(name);
      if (dependency !== undefined) visit(dependency);
    }
    closure.set(current.name, current);
  };
  visit(file);
  return [...closure.values()];
}
