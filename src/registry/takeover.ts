import { fromBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { CollectorError } from "../errors.ts";
import { unsetRequiredField } from "../lib/unset-field.ts";
import { breakingChanges } from "./compatibility/breaking-changes.ts";
import type { IncomingFile } from "./intake.ts";
import { quote } from "./names.ts";
import type { FileVersion, NamespaceDraft } from "./namespace-state.ts";
import { Pace } from "./pace.ts";
import { fileRecordId } from "./record-ids.ts";
import { fileVersionsMax, planMeasured } from "./registration.ts";
import type { RestorationOptions } from "./restoration.ts";
import { indexFile } from "./schema/file-index.ts";
import { measureFiles } from "./schema/measure.ts";
import { canonicalBytes, canonicalCopy } from "./schema/normalize.ts";
import { checkFile } from "./validation/check-file.ts";
import { Problems } from "./validation/problems.ts";

/** One version of a file of another collector. */
export interface TakenVersion {
  /** The bytes of its descriptor. */
  readonly source: Uint8Array;
  /** Id of the collector that it was registered at. */
  readonly origin: string;
}

/** A file of another collector, as far as it is not here. */
export interface TakenFile {
  readonly name: string;
  /** Hash of the version in force here when it was decided to take it; empty if there was none. */
  readonly basis: string;
  /** Behind the versions that are here, the oldest first; the last one is to be in force. Not empty. */
  readonly versions: readonly TakenVersion[];
  /** How often the name was removed there. */
  readonly removals: number;
}

export interface TakeoverPlan {
  /** Versions to store, by file, imports before those that import them. */
  readonly files: readonly (readonly FileVersion[])[];
  /** The state to put in force once they are stored. */
  readonly draft: NamespaceDraft;
}

/**
 * Works out how files of another collector are added to what is registered: the last version of each as if a
 * caller registered it now, those before it as history. It changes nothing.
 *
 * @throws {CollectorError} DESCRIPTOR_INVALID, SYMBOL_EXISTS, SCHEMA_LIMIT_EXCEEDED, SCHEMA_INCOMPATIBLE,
 * TYPE_IN_USE
 */
export async function planTakeover(
  taken: readonly TakenFile[],
  options: RestorationOptions,
): Promise<TakeoverPlan> {
  const { state, nowMs } = options;
  const pace = new Pace();
  const incoming: IncomingFile[] = [];
  const byName = new Map<string, TakenFile>();
  for (const file of taken) {
    await pace.step();
    const newest = file.versions.at(-1);
    if (newest === undefined) throw invalid(`${quote(file.name)} comes without a version`);
    incoming.push({ file: decode(file.name, newest.source, options), field: file.name });
    byName.set(file.name, file);
  }
  // Files are measured one by one: together they may be more than one call may bring.
  const limits = { ...options.limits, descriptorBytesMax: Number.MAX_SAFE_INTEGER };
  const { draft, added } = await planMeasured(incoming, {
    ...options,
    limits,
    reuseVersions: false,
  });
  const files: FileVersion[][] = [];
  for (const { version, linked } of added) {
    const { name } = linked;
    const before = state.files.get(name)?.versions ?? [];
    const { versions = [] } = byName.get(name) ?? {};
    let number = version.version;
    const next = (from: TakenVersion, content: Pick<FileVersion, "source" | "canonical">) => {
      const id = fileRecordId(state.namespace, name, number);
      const made = { ...content, id, version: number, createdMs: nowMs, origin: from.origin };
      number += 1n;
      return made;
    };
    const fresh: FileVersion[] = [];
    // The oldest are left out if there is no room for all.
    const room = Math.max(0, fileVersionsMax - before.length - 1);
    const history = versions.slice(0, -1);
    for (const each of history.slice(Math.max(0, history.length - room))) {
      await pace.step();
      const canonical = checkHistoric(name, each.source, options);
      if (options.compatible) checkFollows(name, canonical, linked.index);
      fresh.push(next(each, { source: each.source, canonical: canonicalBytes(canonical) }));
    }
    const last = versions.at(-1) ?? { source: version.source, origin: "" };
    const newest = next(last, version);
    fresh.push(newest);
    draft.place({
      linked: { ...linked, version: newest.version },
      versions: [...before, ...fresh],
    });
    files.push(fresh);
  }
  return { files, draft };
}

function decode(
  name: string,
  source: Uint8Array,
  { limits }: RestorationOptions,
): FileDescriptorProto {
  if (source.byteLength > limits.descriptorBytesMax) {
    throw new CollectorError(
      "SCHEMA_LIMIT_EXCEEDED",
      `${name} has ${source.byteLength} bytes, the limit is ${limits.descriptorBytesMax} (descriptorBytesMax)`,
      { subject: { file: name, limit: String(limits.descriptorBytesMax) } },
    );
  }
  let file: FileDescriptorProto;
  try {
    file = fromBinary(FileDescriptorProtoSchema, source);
  } catch (cause) {
    throw invalid(`what comes as ${quote(name)} is no file descriptor`, cause);
  }
  if (file.name !== name) throw invalid(`what comes as ${quote(name)} is ${quote(file.name)}`);
  measureFiles([file], limits);
  const unset = unsetRequiredField(FileDescriptorProtoSchema, file);
  if (unset !== undefined) throw invalid(`${name}: ${unset} is required, and is not set`);
  return file;
}

/** Checks a version that is not to be in force by itself. @returns its canonical form */
function checkHistoric(
  name: string,
  source: Uint8Array,
  options: RestorationOptions,
): FileDescriptorProto {
  decode(name, source, options);
  const canonical = canonicalCopy(source);
  const problems = new Problems();
  checkFile(
    canonical,
    (element, problem) => problems.add(name, `${name}: ${element} ${problem}`),
    (element, problem) => problems.addDuplicate(name, `${name}: ${element} ${problem}`),
  );
  problems.throwIfAny();
  return canonical;
}

/** A history that its own last version breaks is none. */
function checkFollows(
  name: string,
  canonical: FileDescriptorProto,
  newest: ReturnType<typeof indexFile>,
): void {
  const before = indexFile(canonical);
  const [change] = breakingChanges(before, newest, {
    before: (type) => before.types.get(type),
    after: (type) => newest.types.get(type),
  });
  if (change === undefined) return;
  throw new CollectorError(
    "SCHEMA_INCOMPATIBLE",
    `${name}: ${change.description} (${change.rule}, against an earlier version of it)`,
    { subject: { file: name } },
  );
}

function invalid(problem: string, cause?: unknown): CollectorError {
  return new CollectorError("DESCRIPTOR_INVALID", problem, { cause });
}
