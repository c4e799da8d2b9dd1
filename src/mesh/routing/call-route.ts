import { CollectorError } from "../../errors.ts";

/** Says which collectors a call has passed, by their ids with commas between them. */
export const routeHeader = "x-collector-route";

/** Says which collector ran a call that came over a link. */
export const handledByHeader = "x-collector-handled-by";

const idPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

/**
 * The collectors that a call has passed, as a linked collector says it.
 *
 * @throws {CollectorError} METADATA_INVALID; HOPS_EXCEEDED for more than `hopsMax`; CALL_LOOP if this one
 * is among them
 */
export function readRoute(
  metadata: { get(name: string): string | undefined },
  own: { readonly collectorId: string; readonly hopsMax: number },
): readonly string[] {
  const text = metadata.get(routeHeader);
  if (text === undefined || text === "") return [];
  const route = text.split(",", own.hopsMax + 2);
  if (!route.every((id) => idPattern.test(id))) {
    throw new CollectorError("METADATA_INVALID", `${routeHeader} must be ids of collectors`);
  }
  if (route.length > own.hopsMax) throw tooFar(own.hopsMax);
  if (route.includes(own.collectorId)) {
    throw new CollectorError(
      "CALL_LOOP",
      "the call has come back to a collector that it has passed; look at the links between them",
      { subject: { collector: own.collectorId } },
    );
  }
  return route;
}

export function tooFar(hopsMax: number): CollectorError {
  return new CollectorError(
    "HOPS_EXCEEDED",
    `the call has passed ${hopsMax} collectors, which is the limit; link its caller to one that is nearer`,
    { subject: { limit: "meshHopsMax" } },
  );
}
