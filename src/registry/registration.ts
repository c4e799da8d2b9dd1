import type { DescFile } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { type BuiltIns, isReservedPackage } from "./built-ins.ts";
import { checkHistory } from "./compatibility/check-history.ts";
import { describeCycle, orderByImports } from "./import-order.ts";
import {
  type Candidate,
  equalBytes,
  type FileOutcome,
  type IncomingFile,
  Intake,
} from "./intake.ts";
import { quote } from "./names.ts";
import {
  affectedFiles,
  type FileVersion,
  NamespaceDraft,
  type NamespaceState,
  visibleFiles,
} from "./namespace-state.ts";
import { Pace } from "./pace.ts";
import { fileRecordId } from "./record-ids.ts";
import { type FileIndex, indexFile } from "./schema/file-index.ts";
import { linkFile } from "./schema/link-file.ts";
import { type LinkedFile, prefixes } from "./schema/linked-file.ts";
import { checkNamespaceSize, measureFiles, type SchemaLimits } from "./schema/measure.ts";
import { canonicalBytes, canonicalCopy } from "./schema/normalize.ts";
import type { TypeUsage } from "./type-usage.ts";
import { checkUnused, notLinking } from "./usage-check.ts";
import { checkDefaults } from "./validation/check-defaults.ts";
import { checkReferences, type Scope } from "./validation/check-references.ts";
import { Problems, type Report } from "./validation/problems.ts";

/** Versions that one file may have. */
export const fileVersionsMax = 1000;

/** Hints that one call may get. */
const hintsMax = 4;

/** A registration that would succeed: what to store, and the state after it. */
export interface RegistrationPlan {
  /** In the order of the call. */
  readonly outcomes: readonly FileOutcome[];
  /** Versions to store, each with the file it is of. */
  readonly added: readonly AddedVersion[];
  /** The state to put in force once they are stored. */
  readonly draft: NamespaceDraft;
}

export interface AddedVersion {
  readonly version: FileVersion;
  readonly linked: LinkedFile;
}

export interface RegistrationOptions {
  readonly state: NamespaceState;
  readonly builtIns: BuiltIns;
  readonly limits: SchemaLimits;
  /** Whether new versions must be compatible with every earlier one. */
  readonly compatible: boolean;
  /** Whether content that an earlier version had may be answered with that version. */
  readonly reuseVersions: boolean;
  readonly usage: TypeUsage;
  /** Milliseconds since 1970. */
  readonly nowMs: number;
}

/**
 * Works out what the registration of some files would do. It changes nothing: the outcome is a plan
 * or an error.
 *
 * @throws {CollectorError} DESCRIPTOR_INVALID, SYMBOL_EXISTS, SCHEMA_LIMIT_EXCEEDED,
 * SCHEMA_INCOMPATIBLE, TYPE_IN_USE
 */
export async function planRegistration(
  incoming: readonly IncomingFile[],
  options: RegistrationOptions,
): Promise<RegistrationPlan> {
  measureFiles(
    incoming.map(({ file }) => file),
    options.limits,
  );
  return planMeasured(incoming, options);
}

/** As {@link planRegistration}, for files each of which was measured by itself. */
export function planMeasured(
  incoming: readonly IncomingFile[],
  options: RegistrationOptions,
): Promise<RegistrationPlan> {
  return new Registration(options).plan(incoming);
}

class Registration {
  readonly #options: RegistrationOptions;
  readonly #state: NamespaceState;
  readonly #builtIns: BuiltIns;
  readonly #draft: NamespaceDraft;
  readonly #pace = new Pace();
  readonly #problems = new Problems();
  /** Hints given so far: looking for what a name may have meant is slow. */
  #hints = 0;
  readonly #intake: Intake;
  readonly #candidates: ReadonlyMap<string, Candidate>;
  readonly #outcomes: Map<string, FileOutcome>;
  readonly #added: AddedVersion[] = [];
  /** Files whose descriptors are new, so that those of their importers must be made anew. */
  readonly #relinked = new Set<string>();

  constructor(options: RegistrationOptions) {
    this.#options = options;
    this.#state = options.state;
    this.#builtIns = options.builtIns;
    this.#draft = new NamespaceDraft(options.state, options.builtIns);
    this.#intake = new Intake({ ...options, pace: this.#pace, problems: this.#problems });
    this.#candidates = this.#intake.candidates;
    this.#outcomes = this.#intake.outcomes;
  }

  async plan(incoming: readonly IncomingFile[]): Promise<RegistrationPlan> {
    await this.#intake.accept(incoming);
    this.#problems.throwIfAny();
    this.#checkImports();
    this.#problems.throwIfAny();
    for (const name of this.#order()) {
      await this.#pace.step();
      this.#place(name);
    }
    this.#checkConflicts();
    checkNamespaceSize(this.#state.namespace, this.#draft.size, this.#options.limits);
    if (this.#options.compatible) await this.#checkCompatibility();
    this.#checkUsage();
    const names = new Set(incoming.map(({ file }) => file.name));
    return {
      outcomes: [...names].flatMap((name) => this.#outcomes.get(name) ?? []),
      added: this.#added,
      draft: this.#draft,
    };
  }

  #reportOf(name: string, field: string): Report {
    return (element, problem) => this.#problems.add(field, `${name}: ${element} ${problem}`);
  }

  #checkImports(): void {
    for (const [name, { field, index }] of this.#candidates) {
      const report = this.#reportOf(name, field);
      for (const imported of index.file.dependency) {
        if (this.#candidates.has(imported) || this.#draft.file(imported) !== undefined) continue;
        const known = () => [...this.#candidates.keys(), ...this.#state.files.keys()];
        report(
          `import ${quote(imported)}`,
          `is neither in the request nor registered in namespace ${this.#state.namespace}; ` +
            `send it in dependencies or register it first${this.#suggest(imported, known)}`,
        );
      }
    }
  }

  /** The files to look at: the candidates and whatever imports them, imports first. */
  #order(): readonly string[] {
    const changed = [...this.#candidates.keys()];
    const isKnown = (name: string) => this.#draft.file(name) !== undefined;
    const affected = affectedFiles(this.#state.files, changed, isKnown);
    const order = orderByImports(affected, (name) => this.#importsOf(name));
    if (order.kind === "ordered") return order.names;
    const [first = ""] = order.names;
    const { field = "file_descriptor" } = this.#candidates.get(first) ?? {};
    this.#problems.add(field, `the imports go round: ${describeCycle(order.names)}`);
    this.#problems.throwIfAny();
    return [];
  }

  #importsOf(name: string): readonly string[] {
    const index = this.#candidates.get(name)?.index ?? this.#draft.file(name)?.index;
    return index?.file.dependency ?? [];
  }

  #place(name: string): void {
    const candidate = this.#candidates.get(name);
    if (candidate === undefined) {
      this.#relink(name);
      return;
    }
    const report = this.#reportOf(name, candidate.field);
    const wereAbsolute = checkReferences(candidate.index, this.#scope(candidate.index), report);
    this.#problems.throwIfAny();
    const canonical = shared(canonicalBytes(candidate.index.file), candidate.source);
    // What is stored must read the same later, when other files may be around.
    const source = wereAbsolute ? candidate.source : canonical;
    const known = this.#findVersion(name, canonical);
    if (known !== undefined) {
      this.#outcomes.set(name, { name, version: known.version, unchanged: true });
      this.#relink(name);
      return;
    }
    const versions = this.#state.files.get(name)?.versions ?? [];
    if (versions.length >= fileVersionsMax) {
      throw new CollectorError(
        "SCHEMA_LIMIT_EXCEEDED",
        `${name} has ${versions.length} versions, the limit is ${fileVersionsMax}`,
        { subject: { file: name, limit: String(fileVersionsMax) } },
      );
    }
    const number = (versions.at(-1)?.version ?? 0n) + 1n;
    const version: FileVersion = {
      id: fileRecordId(this.#state.namespace, name, number),
      version: number,
      source,
      canonical,
      createdMs: this.#options.nowMs,
      origin: "",
    };
    const desc = this.#link(candidate.index, report);
    const linked = { name, version: number, index: candidate.index, desc, source };
    this.#draft.place({ linked, versions: [...versions, version] });
    this.#relinked.add(name);
    this.#added.push({ version, linked });
    this.#outcomes.set(name, { name, version: number, unchanged: false });
  }

  /**
   * A version with this content that may stand for it: the one in force, or, where versions are
   * compatible, an earlier one of which nothing was taken away since.
   */
  #findVersion(name: string, canonical: Uint8Array): FileVersion | undefined {
    const state = this.#state.files.get(name);
    const found = state?.versions.findLast((version) => equalBytes(version.canonical, canonical));
    if (state === undefined || found === undefined || found === state.versions.at(-1)) return found;
    if (!this.#options.compatible || !this.#options.reuseVersions) return undefined;
    const { types } = state.linked.index;
    const all = indexFile(canonicalCopy(found.source)).types.keys();
    return all.every((type) => types.has(type)) ? found : undefined;
  }

  /** Makes the descriptors of a registered file anew if those of its imports are new. */
  #relink(name: string): void {
    const state = this.#draft.files.get(name);
    if (state === undefined) return;
    const { linked } = state;
    const { index } = linked;
    if (!index.file.dependency.some((imported) => this.#relinked.has(imported))) return;
    const lost = new Problems();
    const report: Report = (element, problem) => lost.add("", `${element} ${problem}`);
    checkReferences(index, this.#scope(index), report);
    if (!lost.none) throw notLinking(this.#state.namespace, name, lost);
    const desc = this.#link(index, report);
    this.#draft.place({ linked: { ...linked, desc }, versions: state.versions });
    this.#relinked.add(name);
  }

  #link(index: FileIndex, report: Report): DescFile {
    const visible = visibleFiles(index.file.dependency, (name) => this.#draft.file(name));
    const desc = linkFile(index.file, {
      direct: visible.direct.map((file) => file.desc),
      reexported: visible.reexported.map((file) => file.desc),
    });
    checkDefaults(desc, report);
    this.#problems.throwIfAny();
    return desc;
  }

  #scope(index: FileIndex): Scope {
    const visible = visibleFiles(index.file.dependency, (name) => this.#draft.file(name));
    const tables = [index, ...visible.direct.map((f) => f.index)];
    tables.push(...visible.reexported.map((f) => f.index));
    return {
      find: (fullName) => {
        for (const { types } of tables) {
          const found = types.get(fullName);
          if (found !== undefined) return found;
        }
        return undefined;
      },
      hint: (name) => this.#hint(name, tables),
    };
  }

  #hint(name: string, tables: readonly FileIndex[]): string {
    if (this.#hints >= hintsMax) return "";
    for (const { linked } of this.#draft.files.values()) {
      if (linked.index.types.has(name)) return this.#importHint(linked.name);
    }
    for (const file of this.#builtIns.files.values()) {
      if (file.index.types.has(name)) return this.#importHint(file.name);
    }
    return this.#suggest(name, () => tables.flatMap((table) => [...table.types.keys()]));
  }

  #importHint(file: string): string {
    this.#hints += 1;
    return `; import ${quote(file)}, which defines it`;
  }

  #suggest(name: string, known: () => Iterable<string>): string {
    if (this.#hints >= hintsMax) return "";
    this.#hints += 1;
    return didYouMean(name, known());
  }

  #checkConflicts(): void {
    for (const { symbol, file, other } of this.#draft.conflicts()) {
      const field = this.#candidates.get(file)?.field ?? "file_descriptor";
      const builtIn = this.#builtIns.files.get(other);
      if (builtIn !== undefined && isReservedPackage(builtIn.index.file.package)) {
        this.#problems.add(
          field,
          `${file}: ${symbol} is built in and cannot be redefined; import ${quote(other)} instead`,
        );
      } else {
        this.#problems.addDuplicate(field, `${file}: ${symbol} is declared by ${other} already`);
      }
    }
    this.#problems.throwIfAny();
  }

  async #checkCompatibility(): Promise<void> {
    for (const { linked } of this.#added) {
      await checkHistory({
        field: this.#candidates.get(linked.name)?.field ?? "file_descriptor",
        linked,
        versions: this.#state.files.get(linked.name)?.versions ?? [],
        builtIn: this.#builtIns.files.get(linked.name),
        pace: this.#pace,
        before: (type) => this.#typeBefore(type),
        after: (type) => this.#typeAfter(type),
      });
    }
  }

  #typeBefore(type: string): ReturnType<FileIndex["types"]["get"]> {
    const desc = this.#state.types.get(type) ?? this.#builtIns.types.get(type);
    if (desc === undefined) return undefined;
    const name = desc.file.proto.name;
    const linked = this.#state.files.get(name)?.linked ?? this.#builtIns.files.get(name);
    return linked?.index.types.get(type);
  }

  #typeAfter(type: string): ReturnType<FileIndex["types"]["get"]> {
    // Map entries have no descriptor of their own, so ask for the message around them too.
    for (const name of prefixes(type)) {
      const file = this.#draft.fileOfType(name);
      if (file !== undefined) return this.#draft.file(file)?.index.types.get(type);
    }
    return undefined;
  }

  /** Refuses to take away what collections or registered services need. */
  #checkUsage(): void {
    const lost = new Set<string>();
    for (const { linked } of this.#added) {
      const before = this.#state.files.get(linked.name)?.linked.index;
      for (const type of before?.types.keys() ?? []) {
        if (this.#draft.fileOfType(type) === undefined) lost.add(type);
      }
    }
    checkUnused(this.#state, lost, this.#options.usage);
  }
}

/** One array where two are equal, so that memory holds it once. */
function shared(bytes: Uint8Array, other: Uint8Array): Uint8Array {
  return equalBytes(bytes, other) ? other : bytes;
}
