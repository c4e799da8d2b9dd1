import { isIP } from "node:net";
import type { Config } from "./config.ts";
import { CollectorError } from "./errors.ts";

/** @throws {CollectorError} ARGUMENT_INVALID for an address that others can reach, unless allowed */
export function checkExposure({ host, insecure }: Config): void {
  if (insecure || isLoopback(host)) return;
  throw new CollectorError(
    "ARGUMENT_INVALID",
    `host: ${host} can be reached from other machines, and there is no access control yet: listen on 127.0.0.1, or add --insecure if the network is trusted`,
  );
}

/** What other collectors are told to dial; empty if there is no address that means this one. */
export function addressToDial(config: Config, address: string | undefined): string {
  const isConcrete = config.host !== "0.0.0.0" && config.host !== "::";
  const known = config.advertise ?? (isConcrete ? address : undefined);
  if (known === undefined || known === "") return "";
  return config.tlsCert === undefined || known.includes("://") ? known : `https://${known}`;
}

/** Whether an address can be reached from this machine alone. */
export function isLoopback(host: string): boolean {
  if (host === "localhost") return true;
  return isIP(host) === 4 ? host.startsWith("127.") : host === "::1";
}
