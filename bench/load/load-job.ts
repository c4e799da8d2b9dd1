import type { Source } from "./sources.ts";

/** What a load process does. */
export interface LoadJob {
  readonly url: string;
  readonly connections: number;
  /** Load before the measurement begins. */
  readonly warmUpMs: number;
  readonly runMs: number;
  readonly flows: readonly LoadFlow[];
}

/** Calls of one kind: either so many in flight at any time, or so many a second whatever happens. */
export interface LoadFlow {
  readonly source: Source;
  /** Over all connections. */
  readonly inFlight?: number;
  readonly perSecond?: number;
}

export interface FlowResult {
  readonly done: number;
  /** How often calls ended in which other way than with a message. */
  readonly failures: Readonly<Record<string, number>>;
  readonly perSecond: number;
  readonly latencyMs: {
    readonly mean: number;
    readonly p50: number;
    readonly p99: number;
    readonly p999: number;
    readonly max: number;
  };
}

/** What a load process tells who started it. */
export type LoadMessage =
  | { readonly kind: "begun" }
  | {
      readonly kind: "ended";
      readonly results: readonly FlowResult[];
      readonly cpuUs: number;
      readonly tookMs: number;
    }
  | { readonly kind: "failed"; readonly reason: string };
