import type { FeatureSet, UninterpretedOption } from "@bufbuild/protobuf/wkt";
import type { Syntax } from "../schema/features.ts";
import type { Report } from "./problems.ts";

/** What the checks of one file share. */
export interface FileContext {
  readonly syntax: Syntax;
  readonly report: Report;
  /** Reports a name that is declared twice. */
  readonly reportDuplicate: Report;
}

/** The names of one scope: fields, nested types, enum values and the like share it. */
export class ScopeNames {
  readonly #elements = new Map<string, string>();
  readonly #report: Report;

  constructor(reportDuplicate: Report) {
    this.#report = reportDuplicate;
  }

  declare(name: string, element: string): void {
    const other = this.#elements.get(name);
    if (other === undefined) this.#elements.set(name, element);
    else this.#report(element, `is declared twice: ${other} has the same name`);
  }
}

interface Options {
  readonly uninterpretedOption: readonly UninterpretedOption[];
  readonly features?: FeatureSet | undefined;
}

/** What holds for the options of every kind of element. */
export function checkOptions(
  options: Options | undefined,
  element: string,
  context: FileContext,
): void {
  if (options === undefined) return;
  if (options.uninterpretedOption.length > 0) {
    context.report(
      element,
      "has options that were not interpreted; send the output of a compiler such as protoc or buf",
    );
  }
  if (options.features !== undefined && context.syntax !== "editions") {
    context.report(element, "sets features, which only files with an edition have");
  }
}
