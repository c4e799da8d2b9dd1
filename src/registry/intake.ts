import { toBinary } from "@bufbuild/protobuf";
import { type FileDescriptorProto, FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { unsetRequiredField } from "../lib/unset-field.ts";
import { type BuiltIns, isReservedPackage } from "./built-ins.ts";
import type { NamespaceState } from "./namespace-state.ts";
import type { Pace } from "./pace.ts";
import { type FileIndex, indexFile } from "./schema/file-index.ts";
import { builtInVersion } from "./schema/linked-file.ts";
import { checkDescriptorBytes, type SchemaLimits } from "./schema/measure.ts";
import { canonicalCopy } from "./schema/normalize.ts";
import { checkFile } from "./validation/check-file.ts";
import { differenceFromBuiltIn } from "./validation/equivalence.ts";
import { fileNameProblem } from "./validation/identifiers.ts";
import type { Problems, Report } from "./validation/problems.ts";

/** A file as a call sends it, and the field of the request it came in. */
export interface IncomingFile {
  readonly file: FileDescriptorProto;
  readonly field: string;
}

/** What became of a file of the call. */
export interface FileOutcome {
  readonly name: string;
  /** The version that has this content. */
  readonly version: bigint;
  /** True if that version was there before. */
  readonly unchanged: boolean;
}

/** A file that is neither built in nor byte for byte what is registered. */
export interface Candidate {
  readonly field: string;
  readonly source: Uint8Array;
  readonly index: FileIndex;
}

export interface IntakeOptions {
  readonly state: NamespaceState;
  readonly builtIns: BuiltIns;
  readonly limits: SchemaLimits;
  readonly pace: Pace;
  /** Where problems of the files go. */
  readonly problems: Problems;
}

/** The first look at the files of a call: what each of them is, and whether it is sound by itself. */
export class Intake {
  readonly #options: IntakeOptions;
  /** Files to register, by name. */
  readonly candidates: Map<string, Candidate> = new Map();
  /** What is known already, by name of the file; filled further as candidates are registered. */
  readonly outcomes: Map<string, FileOutcome> = new Map();

  constructor(options: IntakeOptions) {
    this.#options = options;
  }

  /** Sorts out what is registered or built in already, and checks each other file by itself. */
  async accept(incoming: readonly IncomingFile[]): Promise<void> {
    const sources = new Map<string, Uint8Array>();
    let bytes = 0;
    for (const { file, field } of incoming) {
      await this.#options.pace.step();
      const nameProblem = fileNameProblem(file.name);
      if (nameProblem !== undefined) {
        this.#options.problems.add(field, `${field}: ${nameProblem}`);
        continue;
      }
      const source = this.#encode(file, field);
      if (source === undefined) continue;
      bytes += source.length;
      checkDescriptorBytes(bytes, this.#options.limits);
      const twin = sources.get(file.name);
      sources.set(file.name, source);
      if (twin === undefined) this.#acceptOne(file.name, source, field);
      else if (!equalBytes(twin, source)) {
        this.#options.problems.add(
          field,
          `${file.name}: is in the request twice, with different content`,
        );
      }
    }
  }

  /** The bytes of a file; undefined, and a problem, if it has no wire form. */
  #encode(file: FileDescriptorProto, field: string): Uint8Array | undefined {
    try {
      return toBinary(FileDescriptorProtoSchema, file);
    } catch (error) {
      // What was decoded can lack what may not be encoded without.
      const unset = unsetRequiredField(FileDescriptorProtoSchema, file);
      if (unset === undefined) throw error;
      this.#options.problems.add(field, `${file.name}: ${unset} is required, and is not set`);
      return undefined;
    }
  }

  #acceptOne(name: string, source: Uint8Array, field: string): void {
    const current = this.#options.state.files.get(name)?.versions.at(-1);
    if (current !== undefined && equalBytes(current.source, source)) {
      this.outcomes.set(name, { name, version: current.version, unchanged: true });
      return;
    }
    const { problems } = this.#options;
    const report: Report = (element, problem) =>
      problems.add(field, `${name}: ${element} ${problem}`);
    const file = canonicalCopy(source);
    const index = indexFile(file);
    const builtIn = current === undefined ? this.#options.builtIns.files.get(name) : undefined;
    if (builtIn !== undefined) {
      const difference = differenceFromBuiltIn(index, builtIn.index);
      if (difference === undefined) {
        this.outcomes.set(name, { name, version: builtInVersion, unchanged: true });
        return;
      }
      if (isReservedPackage(builtIn.index.file.package)) {
        report(
          difference,
          "differs from the built-in file of this name, which cannot be redefined",
        );
        return;
      }
    } else if (file.package === "collector" || file.package.startsWith("collector.")) {
      report(`package ${file.package}`, "is reserved; its files are built in");
      return;
    }
    checkFile(file, report, (element, problem) => {
      problems.addDuplicate(field, `${name}: ${element} ${problem}`);
    });
    this.candidates.set(name, { field, source, index });
  }
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}
