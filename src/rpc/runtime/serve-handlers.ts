import type { DescService } from "@bufbuild/protobuf";
import type { Log } from "../../lib/log.ts";
import type { LocalExecutors } from "../../mesh/executor.ts";
import { registerGenerated } from "../../registry/register-generated.ts";
import type { Registry } from "../../registry/registry.ts";
import type { ServiceHandlers } from "../call.ts";
import { HandlerChannel } from "./handler-channel.ts";

export interface ServeOptions {
  /** Where the service is served; by default in the server's default namespace. */
  readonly namespace?: string;
  /** Names these handlers in logs, lists and answers of Serve; by default made up. */
  readonly id?: string;
  /** For `match.` hints of calls. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** A service that is run by functions of this process. Disposing it stops that; calls under way go on. */
export interface ServedService extends AsyncDisposable {
  /** Id of the handlers, as executor. */
  readonly executorId: string;
  readonly namespace: string;
}

/** Serves a service of generated code; see {@link HandlerServer}. */
export type Serve = <S extends DescService>(
  service: S,
  handlers: ServiceHandlers<S>,
  options?: ServeOptions,
) => Promise<ServedService>;

export interface HandlerServerOptions {
  readonly registry: Registry;
  readonly executors: LocalExecutors;
  readonly defaultNamespace: string;
  readonly collectorId: string;
  readonly newRequestId: () => string;
  readonly log: Pick<Log, "error">;
}

/** Makes functions of this process executors of a registered service. */
export function createServe(options: HandlerServerOptions): Serve {
  const { registry, executors, defaultNamespace, collectorId, newRequestId, log } = options;
  let made = 0;
  return async (service, handlers, { namespace = defaultNamespace, id, labels = {} } = {}) => {
    await registerGenerated(registry, service, namespace);
    made += 1;
    const executorId = id ?? `handler-${made}`;
    const channel = new HandlerChannel({ service, handlers, namespace, newRequestId, log });
    const added = executors.add({
      id: executorId,
      kind: "handler",
      namespace,
      serviceName: service.typeName,
      address: "",
      labels,
      collectorId,
      sinceMs: Date.now(),
      ready: true,
      problem: "",
      inFlight: 0,
      channel,
    });
    return {
      executorId,
      namespace,
      async [Symbol.asyncDispose]() {
        added[Symbol.dispose]();
        await channel[Symbol.asyncDispose]();
      },
    };
  };
}
