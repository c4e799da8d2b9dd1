import type { HttpRequest, HttpResponse } from "./responses.ts";

/** Something served besides RPCs, such as `/healthz` or, later, the console. */
export interface HttpRoute {
  /** `GET` serves HEAD as well. */
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** A whole path, or everything under a folder if it ends in a slash. */
  readonly path: string;
  /** Has to end the response. What it throws is logged and answered with 500. */
  readonly handle: (request: HttpRequest, response: HttpResponse) => void | Promise<void>;
}

/** Routes by method and path; the longest folder wins. */
export class HttpRouteTable {
  readonly #routes = new Map<string, HttpRoute>();

  add(route: HttpRoute): void {
    this.#routes.set(`${route.method} ${route.path}`, route);
  }

  find(method: string, path: string): HttpRoute | undefined {
    const verb = method === "HEAD" ? "GET" : method;
    const exact = this.#routes.get(`${verb} ${path}`);
    if (exact !== undefined) return exact;
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const folder = this.#routes.get(`${verb} ${path.slice(0, end + 1)}`);
      if (folder !== undefined) return folder;
    }
    return undefined;
  }
}
