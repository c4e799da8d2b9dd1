import type { LookupAddress } from "node:dns";
import { lookup } from "node:dns/promises";
import { isIP, connect as netConnect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { type Endpoint, plainAddress } from "./endpoint.ts";
import { addressDenied, localFailure } from "./failures.ts";
import type { PeerList } from "./peer-list.ts";

/** The addresses of a name, asked once for each connection. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export interface SocketOptions {
  readonly peers: PeerList;
  /** How long it may take. */
  readonly connectMs: number;
  /** Certificates of authorities in PEM, instead of those that Node knows. */
  readonly ca?: string | undefined;
  readonly resolve?: Resolve | undefined;
}

/** Addresses of one name that are tried. */
const addressesMax = 8;

const systemResolve: Resolve = (host) => lookup(host, { all: true });

/**
 * Connects to an address that is allowed. A name is resolved here and only once: what was checked is
 * what is dialled.
 *
 * @throws {CallFailure} PEER_DENIED; PEER_UNAVAILABLE
 */
export async function openSocket(endpoint: Endpoint, options: SocketOptions): Promise<Socket> {
  const { url, host, port, secure } = endpoint;
  const { peers, connectMs } = options;
  if (!peers.mayAllow(host, port)) throw addressDenied();
  const timeout = AbortSignal.timeout(connectMs);
  const addresses = await allowedAddresses(endpoint, options, timeout);
  const tcp = netConnect({
    host,
    port,
    noDelay: true,
    keepAlive: true,
    autoSelectFamily: true,
    lookup: (_host, { all }, done) => {
      const [first] = addresses;
      if (all === true) done(null, [...addresses]);
      else done(null, first?.address ?? "", first?.family);
    },
  });
  try {
    await ready(tcp, "connect", timeout);
    const remote = plainAddress(tcp.remoteAddress ?? "");
    if (!peers.allows(host, remote, port)) throw addressDenied();
    if (!secure) return tcp;
    const servername = isIP(host) === 0 ? { servername: host } : {};
    const tls = tlsConnect({
      socket: tcp,
      host,
      ...servername,
      ALPNProtocols: ["h2"],
      ...(options.ca === undefined ? {} : { ca: options.ca }),
    });
    await ready(tls, "secureConnect", timeout);
    return tls;
  } catch (error) {
    tcp.destroy();
    throw unreachable(url, error, timeout.aborted);
  }
}

async function allowedAddresses(
  { url, host, port }: Endpoint,
  { peers, resolve = systemResolve }: SocketOptions,
  timeout: AbortSignal,
): Promise<LookupAddress[]> {
  const family = isIP(host);
  if (family !== 0) return [{ address: host, family }];
  let found: readonly LookupAddress[];
  try {
    found = await before(timeout, resolve(host));
  } catch (error) {
    // Who may dial only addresses does not learn here which names there are.
    if (!peers.allowsName(host, port)) throw addressDenied();
    throw localFailure("PEER_UNAVAILABLE", `${url}: the name cannot be resolved`, false, error);
  }
  const allowed = found
    .map(({ address }) => plainAddress(address))
    .filter((address) => peers.allows(host, address, port))
    .slice(0, addressesMax);
  if (allowed.length === 0) throw addressDenied();
  return allowed.map((address) => ({ address, family: isIP(address) }));
}

/** The promise, unless the timeout comes first. */
function before<T>(timeout: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const onTimeout = (): void => reject(timeout.reason);
    timeout.addEventListener("abort", onTimeout, { once: true });
    promise.then(resolve, reject).finally(() => timeout.removeEventListener("abort", onTimeout));
  });
}

/** Waits for an event of a socket; its failure, its end and the timeout come first. */
function ready(socket: Socket, event: string, timeout: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const onTimeout = (): void => reject(timeout.reason);
    const onClose = (): void => reject(new Error("the connection was closed"));
    const settle = (done: () => void): void => {
      timeout.removeEventListener("abort", onTimeout);
      socket.off("close", onClose);
      done();
    };
    // A socket that fails after this is closed, and whoever has it hears of that.
    socket.on("error", (error) => settle(() => reject(error)));
    socket.once("close", onClose);
    socket.once(event, () => settle(resolve));
    timeout.addEventListener("abort", onTimeout, { once: true });
    if (timeout.aborted) onTimeout();
  });
}

function unreachable(url: string, error: unknown, isLate: boolean): Error {
  if (error instanceof Error && error.name === "CallFailure") return error;
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const why = isLate ? "no answer" : (causes[code] ?? (code === "" ? "it failed" : code));
  return localFailure("PEER_UNAVAILABLE", `${url} cannot be reached: ${why}`, false, error);
}

const causes: Readonly<Record<string, string>> = {
  ECONNREFUSED: "connection refused",
  ECONNRESET: "connection reset",
  EHOSTUNREACH: "no route to it",
  ENETUNREACH: "no route to it",
  ETIMEDOUT: "no answer",
  EPROTO: "it speaks no TLS",
};
