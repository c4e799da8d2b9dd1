import type { HealthState } from "../health.ts";
import type { Metrics } from "../metrics.ts";
import type { HttpRoute } from "./http-routes.ts";
import { respond } from "./responses.ts";

export interface PagesOptions {
  readonly health: HealthState;
  readonly metrics: Metrics;
}

const hint = `This is a Collector. One port speaks gRPC, gRPC-Web, Connect and JSON.

  curl -H 'content-type: application/json' -d '{}' \\
    URL/collector.CollectorRegistry/ListServices

/healthz   200 while calls are taken, 503 while the server drains
/metrics   for Prometheus
/files/    attached files

gRPC health v1 and reflection v1 are served too.
`;

/** The pages that every server has. */
export function pages({ health, metrics }: PagesOptions): readonly HttpRoute[] {
  return [
    {
      method: "GET",
      path: "/",
      handle: (request, response) => {
        const authority = request.headers.host ?? request.headers[":authority"] ?? "localhost";
        const scheme = "encrypted" in request.socket ? "https" : "http";
        const text = hint.replace("URL", `${scheme}://${String(authority)}`);
        respond(request, response, 200, text);
      },
    },
    {
      method: "GET",
      path: "/healthz",
      handle: (request, response) => {
        if (health.draining) respond(request, response, 503, "draining\n");
        else respond(request, response, 200, "ok\n");
      },
    },
    {
      method: "GET",
      path: "/metrics",
      handle: async (request, response) => {
        const text = await metrics.render();
        respond(request, response, 200, text, { "content-type": metrics.contentType });
      },
    },
  ];
}
