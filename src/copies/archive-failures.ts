import { CollectorError } from "../errors.ts";
import type { ArchiveProblem } from "./copy-parts.ts";

/** An archive that is intact, but none that this server would have written. */
export function invalidArchive(problem: string, cause?: unknown): CollectorError {
  const options = cause === undefined ? {} : { cause };
  return new CollectorError("ARCHIVE_INVALID", `this archive is not valid: ${problem}`, options);
}

/** An archive whose checksums say that it is not as it was written. */
export function damagedArchive({ part, offset, description }: ArchiveProblem): CollectorError {
  const at = offset < 0n ? "" : ` at byte ${offset}`;
  return new CollectorError(
    "ARCHIVE_DAMAGED",
    `this archive is damaged: ${part}${at}: ${description}`,
    { subject: { part } },
  );
}

export function unusableBase(problem: string): CollectorError {
  return new CollectorError("BASE_UNUSABLE", `the changes cannot be applied: ${problem}`);
}

/** Something is wrong, and this says what and where. */
export class ProblemsFound extends Error {
  readonly problems: readonly ArchiveProblem[];
  readonly areDamage: boolean;

  constructor(problems: readonly ArchiveProblem[], areDamage: boolean) {
    super("problems found");
    this.problems = problems;
    this.areDamage = areDamage;
  }

  /** As a failure for callers: the first of them. */
  toError(): CollectorError {
    const [first] = this.problems;
    if (first === undefined) return invalidArchive("something is wrong with it");
    if (this.areDamage) return damagedArchive(first);
    return invalidArchive(`${first.part}: ${first.description}`);
  }
}

/** Whether it says what is wrong with an archive, rather than with this server. */
export function isArchiveFault(error: unknown): error is CollectorError {
  const reasons = ["ARCHIVE_INVALID", "ARCHIVE_DAMAGED", "BASE_UNUSABLE"];
  return error instanceof CollectorError && reasons.includes(error.reason);
}
