import { Code } from "@connectrpc/connect";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Call } from "./call.ts";

/** Upper bounds in seconds: a point read takes tens of microseconds, a full text search a second. */
const durationBucketsS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5];

/** Methods counted by their own name; those after are counted together, as names come from users. */
const methodsMax = 2000;

const otherMethods = { service: "other", method: "other" };

const codeNames: readonly string[] = [
  "OK",
  ...Object.values(Code)
    .filter((code) => typeof code === "number")
    .map((code) => (Code[code] ?? "").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()),
];

type Protocol = Call["protocol"];

/** The meters of one method over one protocol: label sets are resolved once, not per call. */
interface Meters {
  readonly duration: Histogram.Internal<string>;
  /** By gRPC code. */
  readonly calls: Partial<Record<number, Counter.Internal>>;
}

type MethodMeters = Partial<Record<Protocol, Meters>>;

export interface MetricsOptions {
  readonly version: string;
}

/** What Prometheus reads at `/metrics`. */
export class Metrics {
  /** For the meters of other parts. */
  readonly registry: Registry = new Registry();
  readonly contentType: string = this.registry.contentType;
  readonly #calls: Counter<"service" | "method" | "protocol" | "code">;
  readonly #durations: Histogram<"service" | "method" | "protocol">;
  readonly #methods = new Map<string, Map<string, MethodMeters>>();
  readonly #others: MethodMeters = {};
  #methodCount = 0;

  constructor({ version }: MetricsOptions) {
    const registers = [this.registry];
    this.#calls = new Counter({
      name: "collector_calls_total",
      help: "Calls that ended, by method, protocol and gRPC code.",
      labelNames: ["service", "method", "protocol", "code"],
      registers,
    });
    this.#durations = new Histogram({
      name: "collector_call_duration_seconds",
      help: "Time from the request's first message to the answer's last, by method and protocol.",
      labelNames: ["service", "method", "protocol"],
      buckets: durationBucketsS,
      registers,
    });
    new Gauge({
      name: "collector_info",
      help: "Always 1; the labels say what runs.",
      labelNames: ["version", "node"],
      registers,
    }).set({ version, node: process.version }, 1);
  }

  /** Counts a call that ended; `code` is undefined if it succeeded. Costs under a microsecond. */
  readonly record = (call: Call, code: Code | undefined, durationMs: number): void => {
    const meters = this.#metersOf(call);
    const index = code ?? 0;
    meters.duration.observe(durationMs / 1000);
    let calls = meters.calls[index];
    if (calls === undefined) {
      calls = this.#calls.labels({ ...this.#labelsOf(call), code: codeNames[index] ?? "UNKNOWN" });
      meters.calls[index] = calls;
    }
    calls.inc();
  };

  /** Everything in Prometheus's text form, with the process's own metrics. */
  async render(): Promise<string> {
    const parts = await Promise.all([this.registry.metrics(), processRegistry().metrics()]);
    return parts.join("\n");
  }

  #metersOf(call: Call): Meters {
    const methods = this.#methods.get(call.serviceName)?.get(call.methodName) ?? this.#add(call);
    let meters = methods[call.protocol];
    if (meters === undefined) {
      const labels = this.#labelsOf(call);
      meters = { duration: this.#durations.labels(labels), calls: {} };
      methods[call.protocol] = meters;
    }
    return meters;
  }

  #add(call: Call): MethodMeters {
    if (this.#methodCount >= methodsMax) return this.#others;
    this.#methodCount += 1;
    let service = this.#methods.get(call.serviceName);
    if (service === undefined) {
      service = new Map();
      this.#methods.set(call.serviceName, service);
    }
    const meters: MethodMeters = {};
    service.set(call.methodName, meters);
    return meters;
  }

  #labelsOf(call: Call): { service: string; method: string; protocol: Protocol } {
    const known = this.#methods.get(call.serviceName)?.has(call.methodName) === true;
    const names = known ? { service: call.serviceName, method: call.methodName } : otherMethods;
    return { ...names, protocol: call.protocol };
  }
}

let processMetrics: Registry | undefined;

/** One per process, however many servers it holds: it observes the garbage collector and the loop. */
function processRegistry(): Registry {
  if (processMetrics === undefined) {
    processMetrics = new Registry();
    collectDefaultMetrics({ register: processMetrics });
  }
  return processMetrics;
}
