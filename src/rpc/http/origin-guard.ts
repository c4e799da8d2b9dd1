import { isIP } from "node:net";
import { cors } from "@connectrpc/connect";
import { namespaceHeader } from "../interceptors/namespace.ts";

export interface OriginGuardOptions {
  /** Names under which this server may be called besides `localhost` and addresses; `*` is any. */
  readonly allowedHosts: readonly string[];
  /** Web origins whose pages may call, as in `https://app.example`; `*` is any. */
  readonly allowedOrigins: readonly string[];
}

/** What to do with a request, by its Host and Origin. */
export type OriginVerdict =
  | { readonly allowed: false; readonly reason: string }
  | { readonly allowed: true; readonly crossOrigin: string | undefined };

/** How long a browser may keep the answer to a preflight, in seconds. */
const preflightMaxAgeS = 7200;

/**
 * Keeps web pages from calling a server that trusts its network.
 *
 * A page that had its own name resolve to our address (DNS rebinding) sends that name as Host, so a
 * Host must be `localhost`, an address, or a configured name. A page of another origin sends Origin,
 * which must be configured. Clients that are no browsers send no Origin.
 */
export class OriginGuard {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;

  constructor(options: OriginGuardOptions) {
    this.#hosts = new Set(options.allowedHosts.map((host) => hostName(host)));
    this.#origins = new Set(options.allowedOrigins.map((origin) => origin.toLowerCase()));
  }

  check(host: string | undefined, origin: string | undefined): OriginVerdict {
    if (host !== undefined && !this.#knowsHost(hostName(host))) {
      return {
        allowed: false,
        reason: `host ${quoted(host)} is not a name of this server; if it should be, add it to allowedHosts`,
      };
    }
    if (origin === undefined || isSameOrigin(origin, host)) {
      return { allowed: true, crossOrigin: undefined };
    }
    if (this.#origins.has("*") || this.#origins.has(origin.toLowerCase())) {
      return { allowed: true, crossOrigin: origin };
    }
    return {
      allowed: false,
      reason: `pages of origin ${quoted(origin)} may not call this server; if they should, add it to allowedOrigins`,
    };
  }

  #knowsHost(name: string): boolean {
    return (
      name === "localhost" ||
      name.endsWith(".localhost") ||
      isIP(name) !== 0 ||
      this.#hosts.has(name) ||
      this.#hosts.has("*")
    );
  }
}

/** The headers that let a page of another, allowed origin read an answer. */
export function crossOriginHeaders(origin: string): Record<string, string> {
  return {
    "access-control-allow-origin": origin,
    "access-control-expose-headers": cors.exposedHeaders.join(", "),
    vary: "Origin",
  };
}

/** The further headers of an answer to a preflight that asks for `requested` headers. */
export function preflightHeaders(requested: string | undefined): Record<string, string> {
  const headers = [...cors.allowedHeaders, "Authorization", namespaceHeader];
  if (requested !== undefined) headers.push(requested);
  return {
    "access-control-allow-methods": cors.allowedMethods.join(", "),
    "access-control-allow-headers": headers.join(", "),
    "access-control-max-age": String(preflightMaxAgeS),
  };
}

/** The name in `host` or `host:port`, lower case, without the brackets of an IPv6 address. */
export function hostName(host: string): string {
  const text = host.trim().toLowerCase();
  if (text.startsWith("[")) return text.slice(1, Math.max(1, text.indexOf("]")));
  if (isIP(text) !== 0) return text;
  return text.replace(/:\d*$/, "").replace(/\.$/, "");
}

function isSameOrigin(origin: string, host: string | undefined): boolean {
  if (host === undefined || !URL.canParse(origin)) return false;
  const url = new URL(origin);
  const own = `${url.protocol}//${host}`;
  return URL.canParse(own) && new URL(own).host === url.host;
}

/** Cut, because it is the caller's text. */
function quoted(text: string): string {
  return JSON.stringify(text.slice(0, 128));
}
