import * as fc from "fast-check";

/**
 * Loaded before every test file: gives all property tests one seed, so that a run says the same twice.
 * `COLLECTOR_SEED=random` explores instead; a failure prints the seed it had.
 */
const given = process.env["COLLECTOR_SEED"] ?? "20260101";
if (given !== "random") fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: Number(given) });
