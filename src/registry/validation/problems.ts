import { CollectorError, type ErrorReason, type FieldViolation } from "../../errors.ts";

/** How many problems an answer lists; the rest are only counted. */
const listedMax = 16;

/** Collects what is wrong with the files of a call. */
export class Problems {
  readonly #invalid = new ViolationList();
  readonly #duplicate = new ViolationList();

  get none(): boolean {
    return this.#invalid.count === 0 && this.#duplicate.count === 0;
  }

  /** The description of the first problem. */
  get first(): string {
    return (this.#invalid.listed[0] ?? this.#duplicate.listed[0])?.description ?? "";
  }

  /**
   * @param field where the file stands in the request, as in `dependencies[2]`
   * @param description names the file and the element, what is wrong and what would be valid
   */
  add(field: string, description: string): void {
    this.#invalid.add({ field, description });
  }

  /** Adds a name that is taken, here or elsewhere. */
  addDuplicate(field: string, description: string): void {
    this.#duplicate.add({ field, description });
  }

  /**
   * @throws {CollectorError} DESCRIPTOR_INVALID if a problem was added; SYMBOL_EXISTS if the only
   * problems are names that are taken
   */
  throwIfAny(): void {
    this.#invalid.throwIfAny("DESCRIPTOR_INVALID");
    this.#duplicate.throwIfAny("SYMBOL_EXISTS");
  }
}

/** A list of violations that stays short. */
export class ViolationList {
  readonly #listed: FieldViolation[] = [];
  #count = 0;

  get listed(): readonly FieldViolation[] {
    return this.#listed;
  }

  get count(): number {
    return this.#count;
  }

  add(violation: FieldViolation): void {
    this.#count += 1;
    if (this.#listed.length < listedMax) this.#listed.push(violation);
  }

  throwIfAny(reason: ErrorReason, subject: Readonly<Record<string, string>> = {}): void {
    const [first] = this.#listed;
    if (first === undefined) return;
    const more = this.#count === 1 ? "" : ` (and ${this.#count - 1} more)`;
    throw new CollectorError(reason, `${first.description}${more}`, {
      subject,
      violations: this.#listed,
    });
  }
}

/** Adds a problem of one file: the element it is about, and the rest of the sentence. */
export type Report = (element: string, problem: string) => void;
