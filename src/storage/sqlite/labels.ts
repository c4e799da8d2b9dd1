import { malformedRow } from "./connection.ts";

export type Labels = Readonly<Record<string, string>>;

const none: Labels = Object.freeze({});

/** Reads labels as they are stored: a JSON object of strings. */
export function parseLabels(text: unknown): Labels {
  if (text === "{}") return none;
  if (typeof text !== "string") throw malformedRow();
  return JSON.parse(text) as Labels;
}
