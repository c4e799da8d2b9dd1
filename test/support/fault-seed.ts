/** Seed of a fault test: `COLLECTOR_SEED`, a fixed one without it, one by the clock for `random`. */
export function faultSeed(): number {
  const given = process.env["COLLECTOR_SEED"] ?? "20260101";
  return given === "random" ? Date.now() % 2 ** 31 : Number(given);
}
