import { type ExitCode, exitCodes } from "./exit-codes.ts";

/** How a command ends that did not do what it was asked to. */
export interface Failure {
  /** Stable, for scripts: a reason of the API, or one of the command line's own. */
  readonly code: string;
  readonly message: string;
  /** The field or option at fault. */
  readonly field?: string | undefined;
  /** What to do next. */
  readonly hint?: string | undefined;
  readonly retryable: boolean;
  readonly exitCode: ExitCode;
}

export interface CliErrorOptions extends ErrorOptions {
  readonly exitCode?: ExitCode;
  readonly field?: string;
  readonly hint?: string;
}

/** A failure that a command reports itself. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: string;
  readonly exitCode: ExitCode;
  readonly field: string | undefined;
  readonly hint: string | undefined;

  constructor(code: string, message: string, options: CliErrorOptions = {}) {
    super(message, options);
    this.code = code;
    this.exitCode = options.exitCode ?? exitCodes.failed;
    this.field = options.field;
    this.hint = options.hint;
  }
}

/** The command was called in a way that cannot work. */
export function usageError(message: string, hint?: string): CliError {
  const options = { exitCode: exitCodes.usage };
  return new CliError("USAGE", message, hint === undefined ? options : { ...options, hint });
}

/** The code of an error of the operating system, as in `ENOENT`. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}
