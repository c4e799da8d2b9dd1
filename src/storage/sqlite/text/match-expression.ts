import { invalidField } from "../../../errors.ts";
import type { TextMatch } from "../../record-query.ts";
import type { TextIndexDefinition } from "../../store-layout.ts";
import { hasWord } from "./word-probe.ts";

/** A match in FTS5's language. */
export interface MatchExpression {
  readonly text: string;
  /** How many terms it has, which is what ranking a match costs. */
  readonly terms: number;
}

/**
 * Says a match in FTS5's language. Every term is quoted, so nothing in it can be syntax.
 *
 * Terms without a word are left out here, because FTS5 does not pass over them: next to AND, a phrase
 * of no words matches nothing.
 *
 * @returns undefined if there is no word in it: it matches nothing.
 * @throws {CollectorError} QUERY_INVALID for a field that the index has not.
 */
export function matchExpression(
  match: TextMatch,
  index: TextIndexDefinition,
): MatchExpression | undefined {
  switch (match.kind) {
    case "term":
      return termExpression(match, index);
    case "and":
    case "or": {
      const parts = match.matches.flatMap((part) => matchExpression(part, index) ?? []);
      return joined(parts, match.kind === "and" ? " AND " : " OR ");
    }
    case "butNot": {
      const wanted = matchExpression(match.match, index);
      const without = matchExpression(match.without, index);
      if (wanted === undefined || without === undefined) return wanted;
      return joined([wanted, without], " NOT ");
    }
  }
}

function termExpression(
  term: Extract<TextMatch, { kind: "term" }>,
  index: TextIndexDefinition,
): MatchExpression | undefined {
  const column = columnFilter(term.field, index);
  const text = plainText(term.text);
  if (!hasWord(index.tokenizer, text)) return undefined;
  // Of threes of characters, the last is as long as any: it has no beginning to match.
  const star = term.prefix && index.tokenizer !== "trigram" ? " *" : "";
  return { text: `${column}"${text.replaceAll('"', '""')}"${star}`, terms: 1 };
}

/** Text as FTS5 takes it: it would end at a NUL. */
export function plainText(text: string): string {
  return text.replaceAll("\0", " ");
}

function columnFilter(field: string | undefined, { fields }: TextIndexDefinition): string {
  if (field === undefined) return "";
  const position = fields.findIndex(({ name }) => name === field);
  if (position < 0) {
    const names = fields.map(({ name }) => `"${name}"`).join(", ");
    throw invalidField(
      "QUERY_INVALID",
      "full_text",
      `has no text field "${field}"; there is ${names}`,
    );
  }
  return `t${position} : `;
}

function joined(parts: readonly MatchExpression[], operator: string): MatchExpression | undefined {
  if (parts.length < 2) return parts[0];
  return {
    text: `(${parts.map(({ text }) => text).join(operator)})`,
    terms: parts.reduce((sum, { terms }) => sum + terms, 0),
  };
}
