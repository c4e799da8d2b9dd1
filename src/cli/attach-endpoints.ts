import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import type { RegisterServiceRequestSchema } from "../gen/collector/registry_pb.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";

/** Which service, and whether it is only a rehearsal. */
interface ServiceTarget {
  readonly namespace: string;
  readonly serviceName: string;
  readonly dryRun: boolean;
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
  const { service } = await lookUp(client, target, signal);
  const asked = addresses.map((address) => ({ address, labels: { ...labels } }));
  const change = { endpoints: asked, addEndpoints: !replace };
  return { service, endpoints: await register(client, target, service, change, signal) };
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
  const { service, addresses: known } = await lookUp(client, target, signal);
  const missing = addresses?.find((address) => !known.includes(address));
  if (missing !== undefined || known.length === 0) {
    const what = missing === undefined ? "no endpoints" : `no endpoint ${missing}`;
    throw new CliError("ENDPOINT_NOT_FOUND", `${service} has ${what}`, {
      exitCode: exitCodes.notFound,
      hint:
        known.length === 0 ? "`collector service attach` adds some" : `it has ${known.join(", ")}`,
    });
  }
  const change =
    addresses === undefined ? { clearEndpoints: true } : { removeEndpoints: [...addresses] };
  const left = await register(client, target, service, change, signal);
  return { service, removed: addresses ?? known, left: left.length };
}

async function lookUp(
  client: Client,
  { namespace, serviceName }: ServiceTarget,
  signal: AbortSignal,
): Promise<{ readonly service: string; readonly addresses: readonly string[] }> {
  const request = { namespace, serviceName };
  const { service } = await client.services.registry.lookupService(request, { signal });
  const addresses = service?.endpoints.map(({ address }) => address) ?? [];
  return { service: service?.serviceName ?? serviceName, addresses };
}

/** @returns the addresses that the service has then, or would have */
async function register(
  client: Client,
  { namespace, dryRun: validateOnly }: ServiceTarget,
  serviceName: string,
  change: MessageInitShape<typeof RegisterServiceRequestSchema>,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const request = { ...change, namespace, serviceName, validateOnly };
  const { endpoints } = await client.services.registry.registerService(request, { signal });
  return endpoints.map(({ address }) => address);
}
