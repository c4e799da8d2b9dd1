import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { FileVersion } from "../namespace-state.ts";
import type { Pace } from "../pace.ts";
import { type FileIndex, indexFile, type TypeEntry } from "../schema/file-index.ts";
import type { LinkedFile } from "../schema/linked-file.ts";
import { ViolationList } from "../validation/problems.ts";
import { breakingChanges } from "./breaking-changes.ts";

export interface HistoryCheck {
  /** The field of the request that the file came in. */
  readonly field: string;
  /** The new version. */
  readonly linked: LinkedFile;
  readonly versions: readonly FileVersion[];
  /** The built-in file that the first version takes the place of. */
  readonly builtIn: LinkedFile | undefined;
  readonly pace: Pace;
  /** A type of the namespace as it was before the call. */
  readonly before: (fullName: string) => TypeEntry | undefined;
  /** A type of the namespace as it would be after the call. */
  readonly after: (fullName: string) => TypeEntry | undefined;
}

/**
 * Checks that data written under any earlier version of a file can be read under the new one, and
 * the other way round, in binary and in JSON. Collections keep their bytes as they are, so it is
 * not enough to look at the last version.
 *
 * @throws {CollectorError} SCHEMA_INCOMPATIBLE naming rule, file and element
 */
export async function checkHistory(check: HistoryCheck): Promise<void> {
  const { linked, field } = check;
  const found = new ViolationList();
  const seen = new Set<string>();
  for (const { index, label } of earlierVersions(check)) {
    await check.pace.step();
    const changes = breakingChanges(index, linked.index, {
      before: (name) => index.types.get(name) ?? check.before(name),
      after: (name) => linked.index.types.get(name) ?? check.after(name),
    });
    for (const { rule, description } of changes) {
      const text = `${linked.name}: ${description} (${rule}`;
      // What broke with an early version is broken with the later ones too.
      if (seen.has(text)) continue;
      seen.add(text);
      found.add({ field, description: `${text}, against ${label})` });
    }
  }
  found.throwIfAny("SCHEMA_INCOMPATIBLE", { file: linked.name });
}

function* earlierVersions(check: HistoryCheck): Iterable<{ index: FileIndex; label: string }> {
  if (check.builtIn !== undefined) {
    yield { index: check.builtIn.index, label: "the built-in file" };
  }
  for (const { version, canonical } of check.versions) {
    const index = indexFile(fromBinary(FileDescriptorProtoSchema, canonical));
    yield { index, label: `version ${version}` };
  }
}
