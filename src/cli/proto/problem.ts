/** A place in a `.proto` file. Both count from 1; a column is a UTF-16 unit, a tab one column. */
export interface Position {
  readonly line: number;
  readonly column: number;
}

/** Something wrong in a `.proto` file, or with finding it. */
export interface Problem {
  readonly file: string;
  /** Undefined if the file as a whole is at fault. */
  readonly position: Position | undefined;
  /** What is wrong and, where one is near, what may have been meant. */
  readonly message: string;
}

/** How many problems one compilation reports. */
export const problemsMax = 20;

/** The sources do not compile. `message` has one line a problem, each `file:line:column message`. */
export class ProtoCompileError extends Error {
  override readonly name = "ProtoCompileError";
  readonly problems: readonly Problem[];

  constructor(problems: readonly Problem[]) {
    super(problems.slice(0, problemsMax).map(formatProblem).join("\n"));
    this.problems = problems;
  }
}

/** A compilation error about one place. */
export function problemAt(
  file: string,
  position: Position | undefined,
  message: string,
): ProtoCompileError {
  return new ProtoCompileError([{ file, position, message }]);
}

function formatProblem({ file, position, message }: Problem): string {
  if (position === undefined) return `${file} ${message}`;
  return `${file}:${position.line}:${position.column} ${message}`;
}
