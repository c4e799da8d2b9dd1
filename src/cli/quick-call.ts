import type { Agent, RequestOptions } from "node:http";
import type { JsonValue } from "@bufbuild/protobuf";
import { localUrl } from "../client/default-url.ts";

/** What is larger is none of the answers that are asked for so. */
const answerCharsMax = 16 * 1024 * 1024;

/** A server that does not answer within this time, in ms, is left to the client. */
const patienceMs = 2000;

export interface QuickTarget {
  /** As in `http://127.0.0.1:50051`. */
  readonly url: string;
  /** Empty or undefined: the server's default. */
  readonly namespace: string | undefined;
  readonly token: string | undefined;
  /** Undefined: as long as is worth it. */
  readonly timeoutMs: number | undefined;
  readonly signal: AbortSignal;
}

/**
 * Calls unary methods with JSON over plain HTTP: for commands that have to be quick, as loading the client
 * takes several times as long as Node itself does. It knows success only: whatever else comes is undefined,
 * and to be asked again by the client, which tells what is wrong.
 */
export class QuickCaller implements Disposable {
  readonly #target: QuickTarget;
  #agent: Agent | undefined;

  constructor(target: QuickTarget) {
    this.#target = target;
  }

  /** @param method as in `collector.CollectionService/Meta` */
  async call(method: string, request: JsonValue): Promise<JsonValue | undefined> {
    const { url, namespace = "", token = "", timeoutMs, signal } = this.#target;
    const waitMs = Math.min(timeoutMs ?? patienceMs, patienceMs);
    if (!/^https?:\/\//.test(url) || !URL.canParse(method, url)) return undefined;
    // An import of either would load `fetch` with it, which takes as long as all the rest.
    const http = process.getBuiltinModule(url.startsWith("https:") ? "node:https" : "node:http");
    this.#agent ??= new http.Agent({ keepAlive: true });
    const options: RequestOptions = {
      agent: this.#agent,
      method: "POST",
      signal: AbortSignal.any([signal, AbortSignal.timeout(waitMs)]),
      headers: {
        "content-type": "application/json",
        ...(namespace === "" ? {} : { "x-collector-namespace": namespace }),
        ...(token === "" ? {} : { authorization: `Bearer ${token}` }),
      },
    };
    const { promise, resolve } = Promise.withResolvers<JsonValue | undefined>();
    const giveUp = (): void => resolve(undefined);
    const sent = http.request(new URL(method, url), options, (answer) => {
      let text = "";
      answer.setEncoding("utf8");
      answer.on("data", (chunk: string) => {
        text += chunk;
        if (text.length > answerCharsMax) sent.destroy();
      });
      answer.once("error", giveUp);
      answer.once("close", giveUp);
      answer.once("end", () => resolve(answer.statusCode === 200 ? parse(text) : undefined));
    });
    sent.once("error", giveUp);
    sent.end(JSON.stringify(request));
    return await promise;
  }

  [Symbol.dispose](): void {
    this.#agent?.destroy();
  }
}

/** The address of a server as a client reads it; undefined if the client has to say what is wrong with it. */
export function originOf(url: string | undefined): string | undefined {
  const text = url ?? localUrl;
  const parsed = URL.parse(/^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? text : `http://${text}`);
  return parsed?.pathname === "/" ? parsed.origin : undefined;
}

function parse(text: string): JsonValue | undefined {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    // Whatever answers there is no collector.
    return undefined;
  }
}
