import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { ServiceEndpoint } from "../gen/collector/service_hosts_pb.ts";
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus,
  HealthCheckResponseSchema,
} from "../gen/grpc/health/v1/health_pb.ts";
import { CallFailure, type Channel } from "./channel.ts";
import type { Executor } from "./executor.ts";

export interface EndpointExecutorOptions {
  readonly endpoint: ServiceEndpoint;
  readonly namespace: string;
  readonly serviceName: string;
  readonly collectorId: string;
  readonly channel: Channel;
  readonly sinceMs: number;
  /** Time between two checks of one that is healthy. */
  readonly checkMs: number;
}

/** An endpoint that fails is looked at again after this time, and then after twice that, and so on. */
const recheckMinMs = 100;

/** Longest that an endpoint may take to say how it is. */
const checkTimeoutMs = 2000;

const checkPath = "/grpc.health.v1.Health/Check";

/** gRPC's codes of what a check can end with. */
const codes = { deadlineExceeded: 4, notFound: 5, unavailable: 14 } as const;

/**
 * A gRPC server that runs a service. It is dialled with the first call, and from then on asked how it
 * is: by `grpc.health.v1.Health` about the service, or about the server as a whole if it does not know
 * the service; a server without that is healthy if it answers at all.
 */
export class EndpointExecutor implements Executor, AsyncDisposable {
  readonly kind = "endpoint";
  readonly id: string;
  readonly namespace: string;
  readonly serviceName: string;
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly collectorId: string;
  readonly sinceMs: number;
  inFlight = 0;
  readonly #channel: Channel;
  readonly #checkMs: number;
  /** What the last check found wrong. */
  #found = "";
  #failures = 0;
  #timer: NodeJS.Timeout | undefined;
  #isWatched = false;
  #isClosed = false;

  constructor(options: EndpointExecutorOptions) {
    const { endpoint } = options;
    this.id = endpoint.address;
    this.address = endpoint.address;
    this.labels = endpoint.labels;
    this.namespace = options.namespace;
    this.serviceName = options.serviceName;
    this.collectorId = options.collectorId;
    this.sinceMs = options.sinceMs;
    this.#channel = options.channel;
    this.#checkMs = options.checkMs;
  }

  /** For calls: asking for it begins the checks. */
  get channel(): Channel {
    if (!this.#isWatched) this.#watch();
    return this.#channel;
  }

  get ready(): boolean {
    return this.problem === "";
  }

  get problem(): string {
    if (this.#isClosed) return "it was taken away";
    if (this.#found !== "") return this.#found;
    const { state } = this.#channel;
    if (state !== "failing" && state !== "closed") return "";
    // A call has found out before a check did.
    this.#noteFailure("it cannot be reached");
    return this.#found;
  }

  /** Calls under way go on. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    await this.#channel[Symbol.asyncDispose]();
  }

  #watch(): void {
    this.#isWatched = true;
    this.#checkLater();
  }

  #checkLater(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    const backoffMs = recheckMinMs * 2 ** Math.min(this.#failures - 1, 16);
    const waitMs = this.#failures === 0 ? this.#checkMs : Math.min(backoffMs, this.#checkMs);
    // Spread, so that many who saw the same failure do not all come back at once.
    const spreadMs = waitMs * (0.8 + 0.4 * Math.random());
    this.#timer = setTimeout(() => void this.#check(), spreadMs).unref();
  }

  /** Never rejects. */
  async #check(): Promise<void> {
    const problem = (await this.#ask(this.serviceName)) ?? (await this.#ask(""));
    if (this.#isClosed) return;
    if (problem === undefined || problem === "") {
      this.#found = "";
      this.#failures = 0;
      this.#checkLater();
    } else {
      this.#noteFailure(problem);
    }
  }

  #noteFailure(problem: string): void {
    this.#found = problem;
    this.#failures += 1;
    this.#isWatched = true;
    this.#checkLater();
  }

  /** @returns what is wrong; empty if nothing is, undefined if the service is not known there */
  async #ask(service: string): Promise<string | undefined> {
    const request = toBinary(
      HealthCheckRequestSchema,
      create(HealthCheckRequestSchema, { service }),
    );
    const deadlineMs = performance.now() + checkTimeoutMs;
    try {
      const { message } = await this.#channel.unary(checkPath, request, { deadlineMs });
      const { status } = fromBinary(HealthCheckResponseSchema, message);
      if (status === HealthCheckResponse_ServingStatus.SERVING) return "";
      return "it says that it is not serving";
    } catch (error) {
      if (!(error instanceof CallFailure)) return "its health check cannot be read";
      if (!error.isRemote) return `it cannot be reached: ${error.message}`;
      if (error.code === codes.notFound) return undefined;
      const isDown = error.code === codes.unavailable || error.code === codes.deadlineExceeded;
      return isDown ? `its health check failed: ${error.message}` : "";
    }
  }
}
