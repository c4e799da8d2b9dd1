import { CollectorError } from "../errors.ts";
import {
  type Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../gen/grpc/health/v1/health_pb.ts";
import type { Call, ServiceHandlers } from "./call.ts";

export interface HealthStateOptions {
  /** The services that are served now, by full name. */
  readonly services: () => Iterable<string>;
}

/** Whether this server takes calls. It does from its making until it drains. */
export class HealthState {
  readonly #services: () => Iterable<string>;
  readonly #watchers = new Set<() => void>();
  #draining = false;

  constructor(options: HealthStateOptions) {
    this.#services = options.services;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** From now on the server and every service is NOT_SERVING, for good. */
  drain(): void {
    this.#draining = true;
    this.changed();
  }

  /** Tells everyone who watches that services came or went. */
  changed(): void {
    for (const wake of this.#watchers) wake();
  }

  /** The state of a service; undefined if it is not served. The empty name is the server. */
  status(service: string): Status | undefined {
    if (service !== "" && !this.#isServed(service)) return undefined;
    return this.#draining ? Status.NOT_SERVING : Status.SERVING;
  }

  /** The state of everything, the server first. */
  statuses(): Map<string, Status> {
    const status = this.#draining ? Status.NOT_SERVING : Status.SERVING;
    return new Map(["", ...this.#services()].map((name) => [name, status]));
  }

  /** Calls `wake` at every change until the result is called. */
  subscribe(wake: () => void): () => void {
    this.#watchers.add(wake);
    return () => {
      this.#watchers.delete(wake);
    };
  }

  #isServed(service: string): boolean {
    for (const name of this.#services()) if (name === service) return true;
    return false;
  }
}

/** `grpc.health.v1.Health` over a {@link HealthState}. */
export function healthHandlers(state: HealthState): ServiceHandlers<typeof Health> {
  return {
    check: ({ service }) => {
      const status = state.status(service);
      if (status === undefined) {
        const error = new CollectorError("SERVICE_NOT_FOUND", `${service} is not served here`, {
          subject: { service },
        });
        return Promise.reject(error);
      }
      return Promise.resolve({ status });
    },
    list: () => {
      const statuses = Array.from(state.statuses(), ([name, status]) => [name, { status }]);
      return Promise.resolve({ statuses: Object.fromEntries(statuses) });
    },
    watch: ({ service }, call) => watch(state, service, call),
  };
}

/** Ends, with UNAVAILABLE, once the server drains: nothing can come after that. */
async function* watch(
  state: HealthState,
  service: string,
  call: Call,
): AsyncIterable<{ status: Status }> {
  let wake = (): void => undefined;
  const onChange = (): void => {
    wake();
  };
  const unsubscribe = state.subscribe(onChange);
  call.signal.addEventListener("abort", onChange);
  try {
    let last: Status | undefined;
    for (;;) {
      const changed = new Promise<void>((resolve) => {
        wake = resolve;
      });
      if (call.signal.aborted) return;
      const status = state.status(service) ?? Status.SERVICE_UNKNOWN;
      if (status !== last) yield { status };
      last = status;
      if (state.draining) throw new CollectorError("SHUTTING_DOWN", "the server is shutting down");
      await changed;
    }
  } finally {
    unsubscribe();
    call.signal.removeEventListener("abort", onChange);
  }
}
