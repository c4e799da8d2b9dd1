import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError } from "../errors.ts";
import type { Namespace } from "../gen/collector/namespaces_pb.ts";
import type { RegisteredProto, RegisteredService } from "../gen/collector/registry_pb.ts";
import { unsetRequiredField } from "../lib/unset-field.ts";
import { breakingChanges } from "./compatibility/breaking-changes.ts";
import type { IncomingFile } from "./intake.ts";
import { quote } from "./names.ts";
import type { FileState, FileVersion, NamespaceDraft, ServiceState } from "./namespace-state.ts";
import { Pace } from "./pace.ts";
import { fileRecordId } from "./record-ids.ts";
import { isSound, toFileVersion, toRegisteredProto } from "./records.ts";
import { fileVersionsMax, planMeasured, type RegistrationOptions } from "./registration.ts";
import { indexFile } from "./schema/file-index.ts";
import { measureFiles } from "./schema/measure.ts";
import { canonicalCopy } from "./schema/normalize.ts";
import { chooseService, serviceState } from "./services.ts";
import { checkFile } from "./validation/check-file.ts";
import { Problems, type Report } from "./validation/problems.ts";

/** What a registry had in a namespace, as it was archived. */
export interface ArchivedNamespace {
  readonly namespace: Namespace;
  /** Every version of each file. May be decoded as it is gone through, so that not all of it is in memory. */
  readonly protos: Iterable<RegisteredProto>;
  readonly services: Iterable<RegisteredService>;
}

export type RestorationOptions = Omit<RegistrationOptions, "reuseVersions">;

/** A restoration that would succeed. */
export interface RestorationPlan {
  /** Versions to store, by file, imports before those that import them. */
  readonly files: readonly (readonly FileVersion[])[];
  readonly services: readonly (readonly [fullName: string, ServiceState])[];
  /** The state to put in force once they are stored; services are not in it yet. */
  readonly draft: NamespaceDraft;
}

/**
 * Works out how a namespace gets what another registry had in it. A file that it has not is taken with its
 * whole history, versions numbered as they were; of one that it has the newest version is registered, unless
 * what is there is the same or follows it. It changes nothing.
 *
 * @throws {CollectorError} DESCRIPTOR_INVALID, SYMBOL_EXISTS, SCHEMA_LIMIT_EXCEEDED, SCHEMA_INCOMPATIBLE,
 * TYPE_IN_USE, SERVICE_NOT_FOUND
 */
export async function planRestoration(
  archived: ArchivedNamespace,
  options: RestorationOptions,
): Promise<RestorationPlan> {
  const { state, builtIns, nowMs } = options;
  const histories = await readHistories(archived, options);
  const incoming: IncomingFile[] = [];
  for (const [name, { versions, newest }] of histories) {
    const current = state.files.get(name);
    if (current !== undefined && isFollowed(versions, current)) continue;
    incoming.push({ file: newest, field: name });
  }
  // Files are measured one by one: all of a namespace may be more than one call may bring.
  const limits = { ...options.limits, descriptorBytesMax: Number.MAX_SAFE_INTEGER };
  const { draft, added } = await planMeasured(incoming, {
    ...options,
    limits,
    reuseVersions: true,
  });
  const files = added.map(({ version, linked }) => {
    const versions = histories.get(linked.name)?.versions ?? [];
    const last = versions.at(-1);
    if (state.files.has(linked.name) || last === undefined) return [version];
    const { source, canonical } = version;
    const whole = [...versions.slice(0, -1), { ...last, source, canonical }];
    draft.place({ linked: { ...linked, version: last.version }, versions: whole });
    return whole;
  });
  const { name: namespace } = archived.namespace;
  const services = new Map<string, ServiceState>();
  const pace = new Pace();
  for (const record of archived.services) {
    await pace.step();
    const { serviceName, fileName } = record;
    if (draft.services.has(serviceName) || services.has(serviceName)) continue;
    const entry = chooseService(draft, builtIns, {
      serviceName,
      fileName: draft.files.has(fileName) ? fileName : "",
      serviceDescriptor: undefined,
    });
    if (entry.builtIn) continue;
    const { metadata: _metadata, ...rest } = record;
    const metadata = isSound(record) ? record.metadata : undefined;
    const kept = metadata === undefined ? rest : { ...rest, metadata };
    const current = { id: "", fileName, record: kept };
    services.set(entry.fullName, serviceState(namespace, entry, nowMs, { current }));
  }
  return { files, services: [...services], draft };
}

/** Versions that one write stores at most, unless one file has more. */
const batchVersionsMax = 64;

/**
 * Stores files, each with all its versions at once, so that what a crash leaves can be linked. What a failure
 * leaves is removed again.
 */
export async function storeHistories(
  records: SystemRecords<RegisteredProto>,
  namespace: string,
  files: RestorationPlan["files"],
): Promise<void> {
  const stored: string[] = [];
  const batch: FileVersion[] = [];
  const flush = async (): Promise<void> => {
    const versions = batch.splice(0);
    if (versions.length === 0) return;
    await records.write(
      versions.map((version) => {
        return { kind: "put", id: version.id, value: toRegisteredProto(namespace, version) };
      }),
    );
    stored.push(...versions.map(({ id }) => id));
  };
  try {
    for (const versions of files) {
      if (batch.length + versions.length > batchVersionsMax) await flush();
      batch.push(...versions);
    }
    await flush();
  } catch (error) {
    // The failure is told; what cannot be removed now is registered at the next start.
    await records.write(stored.map((id) => ({ kind: "delete", id }))).catch(() => undefined);
    throw error;
  }
}

/** Does one thing after the other, whatever becomes of those before. @returns the failures */
export async function collectFailures(
  steps: readonly (() => Promise<void>)[],
): Promise<CollectorError[]> {
  const failures: CollectorError[] = [];
  for (const step of steps) {
    try {
      await step();
    } catch (error) {
      if (!(error instanceof CollectorError)) throw error;
      failures.push(error);
    }
  }
  return failures;
}

interface History {
  /** The oldest first; not empty. */
  readonly versions: FileVersion[];
  newest: NonNullable<RegisteredProto["fileDescriptor"]>;
}

/** Checks every version by itself, as when it was registered. */
async function readHistories(
  { namespace: { name: namespace }, protos }: ArchivedNamespace,
  { limits, nowMs }: RestorationOptions,
): Promise<Map<string, History>> {
  const pace = new Pace();
  const problems = new Problems();
  const histories = new Map<string, History>();
  for (const proto of protos) {
    await pace.step();
    const { fileDescriptor: file } = proto;
    if (file === undefined || proto.version < 1n || proto.namespace !== namespace) {
      throw invalid(`a file of namespace ${namespace} is not one that was registered`);
    }
    measureFiles([file], limits);
    const unset = unsetRequiredField(FileDescriptorProtoSchema, file);
    if (unset !== undefined) throw invalid(`${file.name}: ${unset} is required, and is not set`);
    const { name, version } = toFileVersion(proto);
    const history = histories.get(name) ?? { versions: [], newest: file };
    const before = history.versions.at(-1)?.version ?? 0n;
    if (version.version <= before || history.versions.length === fileVersionsMax) {
      throw invalid(`the versions of ${quote(name)} are not those of one file`);
    }
    const report: Report = (element, problem) => {
      problems.add(name, `${name}, version ${version.version}: ${element} ${problem}`);
    };
    checkFile(canonicalCopy(version.source), report, report);
    problems.throwIfAny();
    const createdMs = isSound(proto) ? version.createdMs : nowMs;
    const id = fileRecordId(namespace, name, version.version);
    history.versions.push({ ...version, id, createdMs });
    history.newest = file;
    histories.set(name, history);
  }
  return histories;
}

/** Whether what is there is the archived file, or a later version of it: then it stays as it is. */
function isFollowed(archived: readonly FileVersion[], current: FileState): boolean {
  const newest = archived.at(-1);
  if (newest === undefined) return true;
  const isSame = ({ canonical }: FileVersion): boolean =>
    Buffer.compare(canonical, newest.canonical) === 0;
  if (current.versions.some(isSame)) return true;
  const before = indexFile(canonicalCopy(newest.source));
  const after = current.linked.index;
  const changes = breakingChanges(before, after, {
    before: (type) => before.types.get(type),
    after: (type) => after.types.get(type),
  });
  // What was taken away is no breaking change by the rules, but data of it cannot be read.
  return changes.length === 0 && [...before.types.keys()].every((type) => after.types.has(type));
}

function invalid(problem: string): CollectorError {
  return new CollectorError("DESCRIPTOR_INVALID", problem);
}
