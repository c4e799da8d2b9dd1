import type { Client } from "../client/client.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";

/** Which service, and whether it is only a rehearsal. */
interface ServiceTarget {
  readonly namespace: string;
  readonly serviceName: string;
  readonly dryRun: boolean;
}

interface Endpoint {
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * Adds addresses at which a registered service runs; one that is there gets the labels.
 *
 * @returns full name of the service, and the addresses that it has then
 * @throws {ClientError} SERVICE_NOT_FOUND, PEER_DENIED, ARGUMENT_INVALID
 */
export async function attachEndpoints(
  client: Client,
  target: ServiceTarget,
  {
    addresses,
    labels,
    replace,
  }: {
    readonly addresses: readonly string[];
    readonly labels: Readonly<Record<string, string>>;
    readonly replace: boolean;
  },
  signal: AbortSignal,
): Promise<{ readonly service: string; readonly endpoints: readonly string[] }> {
  const { service, endpoints: before } = await lookUp(client, target, signal);
  const kept = replace ? [] : before.filter(({ address }) => !addresses.includes(address));
  const endpoints = [...kept, ...addresses.map((address) => ({ address, labels: { ...labels } }))];
  await register(client, target, service, endpoints, signal);
  return { service, endpoints: endpoints.map(({ address }) => address) };
}

/**
 * Takes addresses of a service back.
 *
 * @param addresses all of them if undefined
 * @throws {CliError} ENDPOINT_NOT_FOUND
 * @throws {ClientError} SERVICE_NOT_FOUND
 */
export async function detachEndpoints(
  client: Client,
  target: ServiceTarget,
  addresses: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<{
  readonly service: string;
  readonly removed: readonly string[];
  readonly left: number;
}> {
  const { service, endpoints } = await lookUp(client, target, signal);
  const known = endpoints.map(({ address }) => address);
  const missing = addresses?.find((address) => !known.includes(address));
  if (missing !== undefined || known.length === 0) {
    const what = missing === undefined ? "no endpoints" : `no endpoint ${missing}`;
    throw new CliError("ENDPOINT_NOT_FOUND", `${service} has ${what}`, {
      exitCode: exitCodes.notFound,
      hint:
        known.length === 0 ? "`collector service attach` adds some" : `it has ${known.join(", ")}`,
    });
  }
  const left = endpoints.filter(({ address }) => addresses?.includes(address) === false);
  await register(client, target, service, left, signal);
  return { service, removed: addresses ?? known, left: left.length };
}

async function lookUp(
  client: Client,
  { namespace, serviceName }: ServiceTarget,
  signal: AbortSignal,
): Promise<{ readonly service: string; readonly endpoints: readonly Endpoint[] }> {
  const request = { namespace, serviceName };
  const { service } = await client.services.registry.lookupService(request, { signal });
  return { service: service?.serviceName ?? serviceName, endpoints: service?.endpoints ?? [] };
}

async function register(
  client: Client,
  { namespace, dryRun: validateOnly }: ServiceTarget,
  serviceName: string,
  endpoints: readonly Endpoint[],
  signal: AbortSignal,
): Promise<void> {
  const clearEndpoints = endpoints.length === 0;
  await client.services.registry.registerService(
    {
      namespace,
      serviceName,
      clearEndpoints,
      validateOnly,
      endpoints: endpoints.map(({ address, labels }) => ({ address, labels: { ...labels } })),
    },
    { signal },
  );
}
