import { invalidField } from "../../errors.ts";
import type { Highlight, HighlightOptions } from "../../gen/collector/collection_server_pb.ts";
import type { Passage, PassageQuery } from "../../storage/record-query.ts";

const markBytesMax = 64;
const wordsDefault = 16;
const wordsMax = 64;

/** @throws {CollectorError} QUERY_INVALID */
export function readHighlight(
  options: HighlightOptions,
): Pick<PassageQuery, "startMark" | "endMark" | "wordsMax"> {
  return {
    startMark: readMark(options.startMark, "[", "highlight.start_mark"),
    endMark: readMark(options.endMark, "]", "highlight.end_mark"),
    wordsMax: readWords(options.wordsMax),
  };
}

function readMark(given: string, otherwise: string, argument: string): string {
  const size = Buffer.byteLength(given);
  if (size <= markBytesMax) return given === "" ? otherwise : given;
  throw invalidField("QUERY_INVALID", argument, `has ${size} bytes, the limit is ${markBytesMax}`);
}

/** Undefined for the whole text. */
function readWords(given: number): number | undefined {
  if (given === -1) return undefined;
  if (given >= 0 && given <= wordsMax) return given === 0 ? wordsDefault : given;
  throw invalidField(
    "QUERY_INVALID",
    "highlight.words_max",
    `is ${given}; send 1 to ${wordsMax}, 0 for ${wordsDefault}, or -1 for the whole text`,
  );
}

export function highlightOf({ field, passage }: Passage): Highlight {
  return { $typeName: "collector.Highlight", path: field, passage };
}
