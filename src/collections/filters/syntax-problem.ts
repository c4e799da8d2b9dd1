/** A mistake in a text, at an offset in UTF-16 code units. */
export class SyntaxProblem extends Error {
  override readonly name = "SyntaxProblem";
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** Which character of a text an offset is at, counted as people do: from 1, and no halves. */
export function characterAt(text: string, offset: number): number {
  return [...text.slice(0, offset)].length + 1;
}
