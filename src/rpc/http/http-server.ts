import type { Log } from "../../lib/log.ts";
import type { HttpRouteTable } from "./http-routes.ts";
import { crossOriginHeaders, type OriginGuard, preflightHeaders } from "./origin-guard.ts";
import { readTarget } from "./request-target.ts";
import { type HttpRequest, type HttpResponse, respond } from "./responses.ts";
import type { RpcEndpoint } from "./rpc-endpoint.ts";

export interface HttpServerOptions {
  readonly guard: OriginGuard;
  readonly routes: HttpRouteTable;
  readonly rpc: RpcEndpoint;
  readonly log: Log;
}

/** Decides what answers a request of HTTP/1.1 or HTTP/2: a refusal, a preflight, a page, an RPC. */
export class HttpServer {
  readonly #options: HttpServerOptions;

  constructor(options: HttpServerOptions) {
    this.#options = options;
  }

  handle(request: HttpRequest, response: HttpResponse): void {
    // Both fail when the caller goes away, which other listeners see as "close".
    request.on("error", ignore);
    response.on("error", ignore);
    const { guard, routes, rpc, log } = this.#options;
    const verdict = guard.check(authorityOf(request), request.headers.origin);
    if (!verdict.allowed) {
      respond(request, response, 403, { code: "permission_denied", message: verdict.reason });
      return;
    }
    if (verdict.crossOrigin !== undefined) {
      setHeaders(response, crossOriginHeaders(verdict.crossOrigin));
      if (request.method === "OPTIONS") {
        const requested = request.headers["access-control-request-headers"];
        respond(request, response, 204, "", preflightHeaders(requested));
        return;
      }
    }
    const { path } = readTarget(request.url);
    const route = routes.find(request.method ?? "GET", path);
    if (route !== undefined) {
      Promise.try(() => route.handle(request, response)).catch((error: unknown) => {
        log.error({ err: error, path }, "a page failed");
        if (response.headersSent) response.destroy();
        else respond(request, response, 500, "The server failed; its log has the details.\n");
      });
    } else if (rpc.isRpcPath(path)) {
      void rpc.serve(path, request, response);
    } else {
      respond(request, response, 404, "There is nothing here.\n");
    }
  }
}

function authorityOf(request: HttpRequest): string | undefined {
  return "authority" in request
    ? (request.authority ?? request.headers.host)
    : request.headers.host;
}

function setHeaders(response: HttpResponse, headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    response.setHeader(name, value);
  }
}

function ignore(): void {
  // See where it is used.
}
