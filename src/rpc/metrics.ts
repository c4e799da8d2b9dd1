import { Code } from "@connectrpc/connect";
import { collectDefaultMetrics, Gauge, type Metric, Registry } from "prom-client";
import { BackupMetrics } from "./backup-metrics.ts";
import type { Call } from "./call.ts";
import { SharingMetrics } from "./sharing-metrics.ts";

/** Upper bounds in seconds: a point read takes tens of microseconds, a full text search a second. */
const durationBucketsS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1, 5];
const durationBucketsMs: readonly number[] = durationBucketsS.map((seconds) => seconds * 1000);

/** Methods counted by their own name; those after are counted together, as names come from users. */
const methodsMax = 2000;

const otherName = "other";

/** The gRPC name of each code, `OK` first. */
const codeNames: readonly string[] = [
  "OK",
  ...Object.values(Code)
    .filter((code) => typeof code === "number")
    .map((code) => (Code[code] ?? "").replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase()),
];

type Protocol = Call["protocol"];

/** The calls of one method over one protocol. Plain numbers, so that counting one allocates nothing. */
class CallMeter {
  readonly labels: Readonly<Record<string, string>>;
  readonly byCode: Float64Array = new Float64Array(codeNames.length);
  /** Calls per bucket, each in its smallest; the last bucket has no bound. */
  readonly byDuration: Float64Array = new Float64Array(durationBucketsMs.length + 1);
  totalMs = 0;

  constructor(service: string, method: string, protocol: Protocol) {
    this.labels = { service, method, protocol };
  }

  add(code: number, durationMs: number): void {
    let bucket = 0;
    while (durationMs > (durationBucketsMs[bucket] ?? Number.POSITIVE_INFINITY)) bucket += 1;
    this.byDuration[bucket] = (this.byDuration[bucket] ?? 0) + 1;
    this.byCode[code] = (this.byCode[code] ?? 0) + 1;
    this.totalMs += durationMs;
  }
}

type MethodMeters = Partial<Record<Protocol, CallMeter>>;

interface Sample {
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number;
  readonly metricName?: string;
}

export interface MetricsOptions {
  readonly version: string;
}

/** What Prometheus reads at `/metrics`. */
export class Metrics {
  /** For the meters of other parts. */
  readonly registry: Registry = new Registry();
  readonly contentType: string = this.registry.contentType;
  readonly backups: BackupMetrics = new BackupMetrics(this.registry);
  readonly sharing: SharingMetrics = new SharingMetrics(this.registry);
  readonly #methods = new Map<string, Map<string, MethodMeters>>();
  readonly #others: MethodMeters = {};
  readonly #meters: CallMeter[] = [];
  #methodCount = 0;

  constructor({ version }: MetricsOptions) {
    this.#register(
      "collector_calls_total",
      "Calls that ended, by method, protocol and gRPC code.",
      "counter",
      countSamples,
    );
    this.#register(
      durationName,
      "Time from the request's first message to the answer's last, by method and protocol.",
      "histogram",
      durationSamples,
    );
    new Gauge({
      name: "collector_info",
      help: "Always 1; the labels say what runs.",
      labelNames: ["version", "node"],
      registers: [this.registry],
    }).set({ version, node: process.version }, 1);
  }

  /** Counts a call that ended; `code` is undefined if it succeeded. Costs a tenth of a microsecond. */
  readonly record = (call: Call, code: Code | undefined, durationMs: number): void => {
    const methods = this.#methods.get(call.serviceName)?.get(call.methodName) ?? this.#add(call);
    let meter = methods[call.protocol];
    if (meter === undefined) {
      const isOther = methods === this.#others;
      const service = isOther ? otherName : call.serviceName;
      meter = new CallMeter(service, isOther ? otherName : call.methodName, call.protocol);
      methods[call.protocol] = meter;
      this.#meters.push(meter);
    }
    meter.add(code ?? 0, durationMs);
  };

  /** Everything in Prometheus's text form, with the process's own metrics. */
  async render(): Promise<string> {
    const parts = await Promise.all([this.registry.metrics(), processRegistry().metrics()]);
    return parts.join("\n");
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

  /** A metric whose values are made when they are read; prom-client's own cost ten times as much. */
  #register(
    name: string,
    help: string,
    type: "counter" | "histogram",
    samples: (meter: CallMeter) => Iterable<Sample>,
  ): void {
    const get = (): Promise<object> => {
      const values = this.#meters.flatMap((meter) => [...samples(meter)]);
      return Promise.resolve({ name, help, type, values, aggregator: "sum" });
    };
    this.registry.registerMetric({ name, get } as unknown as Metric);
  }
}

const durationName = "collector_call_duration_seconds";

function* countSamples({ labels, byCode }: CallMeter): Iterable<Sample> {
  for (const [code, value] of byCode.entries()) {
    if (value > 0) yield { labels: { ...labels, code: codeNames[code] ?? "" }, value };
  }
}

function* durationSamples({ labels, byDuration, totalMs }: CallMeter): Iterable<Sample> {
  let count = 0;
  for (const [bucket, value] of byDuration.entries()) {
    count += value;
    const le = durationBucketsS[bucket] ?? "+Inf";
    yield { metricName: `${durationName}_bucket`, labels: { le, ...labels }, value: count };
  }
  yield { metricName: `${durationName}_sum`, labels, value: totalMs / 1000 };
  yield { metricName: `${durationName}_count`, labels, value: count };
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
