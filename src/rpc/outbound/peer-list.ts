import { BlockList, isIP, isIPv6 } from "node:net";
import { CollectorError } from "../../errors.ts";
import { parseHost, parsePort, plainAddress } from "./endpoint.ts";

/** Addresses that a name must not lead to unless they are listed themselves. */
const special = blockListOf([
  ["0.0.0.0", 8],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["224.0.0.0", 3],
  ["::", 128],
  ["::1", 128],
  ["fe80::", 10],
  ["ff00::", 8],
]);

const loopback = blockListOf([
  ["127.0.0.0", 8],
  ["::1", 128],
]);

interface NameRule {
  /** A name, or with a leading dot what a name ends with. */
  readonly name: string;
  /** Undefined for any. */
  readonly port: number | undefined;
}

/**
 * Which servers this one may dial.
 *
 * Names are matched as they are written, addresses as they are connected to. A listed name may lead
 * anywhere but to this machine, its own link and groups: those must be listed by address, or as
 * `localhost`.
 */
export class PeerList {
  readonly #names: readonly NameRule[];
  /** By port; undefined for any. */
  readonly #addresses: ReadonlyMap<number | undefined, BlockList>;
  readonly #allowsLoopback: boolean;

  private constructor(
    names: readonly NameRule[],
    addresses: ReadonlyMap<number | undefined, BlockList>,
    allowsLoopback: boolean,
  ) {
    this.#names = names;
    this.#addresses = addresses;
    this.#allowsLoopback = allowsLoopback;
  }

  /**
   * @param entries `host`, `host:port` or `host:*`; the host is a name, `*.suffix`, an address or a
   * range in CIDR form, IPv6 in brackets where a port follows
   * @param allowsLoopback allows every port of this machine's loopback as well
   * @throws {CollectorError} ARGUMENT_INVALID naming the entry
   */
  static parse(entries: readonly string[], allowsLoopback: boolean): PeerList {
    const names: NameRule[] = [];
    const addresses = new Map<number | undefined, BlockList>();
    for (const entry of entries) {
      const rule = parseEntry(entry);
      if (rule === undefined) throw invalidEntry(entry);
      if (rule.bits === undefined) {
        names.push({ name: rule.host, port: rule.port });
        continue;
      }
      const list = addresses.get(rule.port) ?? new BlockList();
      list.addSubnet(rule.host, rule.bits, familyOf(rule.host));
      addresses.set(rule.port, list);
    }
    return new PeerList(names, addresses, allowsLoopback);
  }

  /** Whether it is worth asking for the addresses of a name: some of them might be allowed. */
  mayAllow(host: string, port: number): boolean {
    if (isIP(host) !== 0) return this.allows(host, host, port);
    if (host === "localhost" && this.#allowsLoopback) return true;
    return (
      this.allowsName(host, port) || this.#addresses.has(port) || this.#addresses.has(undefined)
    );
  }

  /**
   * @param host as the endpoint has it
   * @param address to be connected to, in the form of `plainAddress`
   */
  allows(host: string, address: string, port: number): boolean {
    const family = familyOf(address);
    const isLocal = loopback.check(address, family);
    if (isLocal && this.#allowsLoopback && (host === address || host === "localhost")) return true;
    for (const key of [undefined, port]) {
      if (this.#addresses.get(key)?.check(address, family) === true) return true;
    }
    if (host === address || !this.allowsName(host, port)) return false;
    return !special.check(address, family) || (isLocal && host === "localhost");
  }

  /** Whether the name itself is listed. */
  allowsName(host: string, port: number): boolean {
    return this.#names.some(
      (rule) =>
        (rule.port === undefined || rule.port === port) &&
        (rule.name.startsWith(".") ? host.endsWith(rule.name) : host === rule.name),
    );
  }
}

interface Rule {
  readonly host: string;
  readonly port: number | undefined;
  /** Length of the prefix of an address or a range; undefined for a name. */
  readonly bits: number | undefined;
}

function parseEntry(entry: string): Rule | undefined {
  // IPv6 without brackets has no port: its colons are its own.
  const bare = /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:./]*$/.exec(entry);
  const match = bare ?? /^(?:\[([^\]]+)\]|([^:[\]]+))(?::([0-9]+|\*))?$/.exec(entry);
  if (match === null) return undefined;
  const host = bare === null ? (match[1] ?? match[2] ?? "") : entry;
  const portText = bare === null ? match[3] : undefined;
  const isAnyPort = portText === undefined || portText === "*";
  const port = isAnyPort ? undefined : parsePort(portText);
  if (!isAnyPort && port === undefined) return undefined;
  const range = /^([^/]+)(?:\/([0-9]{1,3}))?$/.exec(host);
  const [, address = "", bitsText] = range ?? [];
  if (isIP(address) !== 0) {
    const plain = plainAddress(address);
    const bitsMax = isIPv6(plain) ? 128 : 32;
    // A range of addresses that are IPv4 in disguise has no length of its own.
    if (bitsText !== undefined && isIP(plain) !== isIP(address)) return undefined;
    const bits = bitsText === undefined ? bitsMax : Number(bitsText);
    return bits <= bitsMax ? { host: plain, port, bits } : undefined;
  }
  if (match[1] !== undefined) return undefined;
  const name = parseHost(host.startsWith("*.") ? host.slice(2) : host);
  if (name === undefined) return undefined;
  return { host: host.startsWith("*.") ? `.${name}` : name, port, bits: undefined };
}

function invalidEntry(entry: string): CollectorError {
  return new CollectorError(
    "ARGUMENT_INVALID",
    `peers: ${JSON.stringify(entry.slice(0, 100))} is no peer; use host:port, host:* or host, where host is a name, *.suffix, an address or a range such as 10.0.0.0/8, IPv6 in brackets`,
  );
}

function familyOf(address: string): "ipv4" | "ipv6" {
  return isIPv6(address) ? "ipv6" : "ipv4";
}

function blockListOf(subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, bits] of subnets) list.addSubnet(address, bits, familyOf(address));
  return list;
}
