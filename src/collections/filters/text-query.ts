import { invalidField } from "../../errors.ts";
import { TextSyntax } from "../../gen/collector/collection_server_pb.ts";
import type { Limits } from "../../lib/limits.ts";
import { quote } from "../../registry/names.ts";
import type { TextMatch } from "../../storage/record-query.ts";
import type { Tokenizer } from "../../storage/store-layout.ts";
import { characterAt, countCharacters, SyntaxProblem } from "./syntax-problem.ts";
import { parseAdvancedText } from "./text-parser.ts";

/** What of a collection's text index the reading of a search text depends on. */
export interface SearchedText {
  readonly tokenizer: Tokenizer;
  /** Names of its fields; one empty name if all text is one field. */
  readonly fields: readonly string[];
}

export type TextLimits = Pick<
  Limits,
  "fullTextBytesMax" | "fullTextTermsMax" | "fullTextPrefixesMax" | "filterDepthMax"
>;

/** An index of every three characters cannot find fewer. */
const trigramCharsMin = 3;

/**
 * Reads the text of a search. As words, any text with a word in it is valid; in the advanced syntax,
 * which docs/search.md describes, mistakes are refused.
 *
 * @throws {CollectorError} QUERY_INVALID naming the character where the mistake is.
 */
export function parseTextQuery(
  text: string,
  syntax: TextSyntax,
  searched: SearchedText,
  limits: TextLimits,
  argument = "full_text",
): TextMatch {
  const size = Buffer.byteLength(text);
  if (size > limits.fullTextBytesMax) {
    throw invalidField(
      "QUERY_INVALID",
      argument,
      `has ${size} bytes, the limit is ${limits.fullTextBytesMax}`,
    );
  }
  try {
    switch (syntax) {
      case TextSyntax.UNSPECIFIED:
      case TextSyntax.WORDS:
        return readWords(text, searched, limits);
      case TextSyntax.ADVANCED:
        return parseAdvancedText(text, searched.fields, limits, (term, at) =>
          checkTerm(term, at, searched),
        );
      default:
        throw invalidField(
          "QUERY_INVALID",
          "text_syntax",
          `is ${Number(syntax)}; send TEXT_SYNTAX_WORDS or TEXT_SYNTAX_ADVANCED`,
        );
    }
  } catch (error) {
    if (!(error instanceof SyntaxProblem)) throw error;
    const character = characterAt(text, error.at);
    throw invalidField("QUERY_INVALID", argument, `at character ${character}: ${error.message}`);
  }
}

function readWords(text: string, searched: SearchedText, limits: TextLimits): TextMatch {
  const terms: TextMatch[] = [];
  for (const { 0: word, index } of text.matchAll(/[^\s\0]+/gu)) {
    if (terms.length === limits.fullTextTermsMax) {
      throw new SyntaxProblem(
        index,
        `there are over ${limits.fullTextTermsMax} words, which is the limit`,
      );
    }
    checkTerm(word, index, searched);
    terms.push({ kind: "term", text: word, prefix: false, field: undefined });
  }
  const [first, second] = terms;
  if (first === undefined) throw new SyntaxProblem(0, "there is no word to search for");
  return second === undefined ? first : { kind: "and", matches: terms };
}

function checkTerm(term: string, at: number, { tokenizer }: SearchedText): void {
  const characters = countCharacters(term);
  if (tokenizer !== "trigram" || characters >= trigramCharsMin) return;
  throw new SyntaxProblem(
    at,
    `${quote(term)} has ${characters === 1 ? "1 character" : `${characters} characters`}; ` +
      `this collection is searched by trigrams, so send ${trigramCharsMin} or more in a row`,
  );
}
