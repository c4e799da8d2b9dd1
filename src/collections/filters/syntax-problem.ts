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
  return countCharacters(text.slice(0, offset)) + 1;
}

/** Code points of a text. */
export function countCharacters(text: string): number {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
