import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../../../errors.ts";
import { ConnectionSchema } from "../../../gen/collector/dispatcher_pb.ts";
import {
  IdentifyRequestSchema,
  IdentifyResponseSchema,
  LinkRequestSchema,
  LinkResponseSchema,
} from "../../../gen/collector/mesh_pb.ts";
import { defaultLimits, type Limits } from "../../../lib/limits.ts";
import { MemoryRecords } from "../../../registry/testing/memory-records.ts";
import { statusTrailers } from "../../../rpc/grpc/status-trailers.ts";
import { pairsOf } from "../../../rpc/links/tunnelled-call.ts";
import { codeByReason, toConnectError } from "../../../rpc/status.ts";
import type { TunnelCall } from "../../../tunnel/served-call.ts";
import {
  CallFailure,
  type CallOptions,
  type Channel,
  type Dialer,
  type StreamAnswer,
  type UnaryAnswer,
} from "../../channel.ts";
import { type LinkStep, stepOf } from "../link-step.ts";
import { Links } from "../links.ts";
import type { OfferedService } from "../peer-offer.ts";
import { ManualScheduler } from "./manual-scheduler.ts";
import { Pipe } from "./pipe.ts";

export interface NetNodeOptions {
  /** Where others find it; `address` of its id by default. Empty: nowhere. */
  readonly advertise?: string;
  readonly limits?: Partial<Limits>;
}

/** A stream between two nodes. */
interface Wire {
  readonly from: string;
  readonly to: string;
  cut(): void;
}

/** Collectors that link each other through memory, with faults, and on a time of their own. */
export class LinkNet implements AsyncDisposable {
  readonly scheduler: ManualScheduler = new ManualScheduler();
  readonly #nodes = new Map<string, NetNode>();
  readonly #wires = new Set<Wire>();
  /** Pairs between which nothing gets through, and nothing breaks either. */
  readonly #frozen = new Set<string>();
  /** Pairs that cannot dial. */
  readonly #walls = new Set<string>();

  async add(id: string, options: NetNodeOptions = {}): Promise<NetNode> {
    const node = new NetNode(this, id, options);
    this.#nodes.set(id, node);
    await node.start();
    return node;
  }

  /** Who answers at `id` or `id-alias`. */
  nodeAt(address: string): NetNode | undefined {
    return this.#nodes.get(address.replace(/-alias$/, ""));
  }

  /** Streams that are open. */
  get wireCount(): number {
    return this.#wires.size;
  }

  /** Breaks every stream between two nodes. */
  cut(a: string, b: string): void {
    for (const wire of this.#wires) {
      const ends = [wire.from, wire.to];
      if (ends.includes(a) && ends.includes(b)) wire.cut();
    }
  }

  /** Breaks every stream of a node. */
  cutAll(id: string): void {
    for (const wire of this.#wires) if (wire.from === id || wire.to === id) wire.cut();
  }

  /** Nothing gets from one node to the other any more; neither is told. */
  freeze(from: string, to: string): void {
    this.#frozen.add(`${from}>${to}`);
  }

  thaw(from: string, to: string): void {
    this.#frozen.delete(`${from}>${to}`);
  }

  isFrozen(from: string, to: string): boolean {
    return this.#frozen.has(`${from}>${to}`);
  }

  /** One node cannot dial the other. */
  wall(from: string, to: string): void {
    this.#walls.add(`${from}>${to}`);
  }

  hasWall(from: string, to: string): boolean {
    return this.#walls.has(`${from}>${to}`);
  }

  join(wire: Wire): void {
    this.#wires.add(wire);
  }

  leave(wire: Wire): void {
    this.#wires.delete(wire);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const node of this.#nodes.values()) await node.stop();
  }
}

/** One collector, as far as links go. */
export class NetNode {
  readonly id: string;
  readonly records: MemoryRecords<typeof ConnectionSchema> = new MemoryRecords(ConnectionSchema);
  readonly namespaces: Set<string> = new Set(["default", "system"]);
  readonly services: Map<string, OfferedService[]> = new Map();
  /** Calls that came over links: who made them, and how. */
  readonly calls: string[] = [];
  readonly #net: LinkNet;
  readonly #options: NetNodeOptions;
  #links: Links | undefined;

  constructor(net: LinkNet, id: string, options: NetNodeOptions) {
    this.#net = net;
    this.id = id;
    this.#options = options;
  }

  get links(): Links {
    if (this.#links === undefined) throw new Error(`${this.id} is stopped`);
    return this.#links;
  }

  get isRunning(): boolean {
    return this.#links !== undefined;
  }

  async start(): Promise<void> {
    const { scheduler } = this.#net;
    this.#links = await Links.open({
      records: this.records,
      dialer: new NetDialer(this.#net, this.id),
      source: {
        namespaces: () => this.namespaces,
        servicesOf: (namespace) => this.services.get(namespace) ?? [],
      },
      facts: {
        collectorId: this.id,
        serverVersion: "test",
        features: ["batch"],
        address: () => this.#options.advertise ?? this.id,
      },
      calls: {
        run: (call, via) => this.#run(call, via.collectorId),
        toEnd: (error) => {
          const status = toConnectError(error);
          return { code: status.code, message: status.rawMessage, metadata: [] };
        },
        codeOf: (reason) => codeByReason[reason],
      },
      limits: { ...defaultLimits, linkRetryMaxMs: 2000, ...this.#options.limits },
      scheduler,
      clock: { nowUs: () => BigInt(Math.round(scheduler.nowMs() * 1000)) },
      random: () => 0.5,
    });
    this.#links.start();
  }

  /** As a server that is told to. */
  async stop(): Promise<void> {
    const links = this.#links;
    this.#links = undefined;
    if (links !== undefined) await this.#net.scheduler.until(links.close());
  }

  /** As a process that is killed: nobody is told, and what is not written is lost. */
  async crash(): Promise<void> {
    const links = this.#links;
    this.#links = undefined;
    this.#net.cutAll(this.id);
    // What goes on in it has no way out any more.
    if (links !== undefined) await this.#net.scheduler.until(links.close());
  }

  /** As a client of it. */
  async connect(address: string, namespaces: readonly string[] = []): Promise<string> {
    const connecting = this.links.connect({ address, namespaces, labels: {} });
    return (await this.#net.scheduler.until(connecting)).id;
  }

  /** Peers by the state of the link, as in `b up`. */
  list(): string[] {
    const states = this.links.table.settled().map(({ peerId, isUp }) => [peerId, isUp] as const);
    return states.map(([peer, isUp]) => `${peer} ${isUp ? "up" : "down"}`).sort();
  }

  /** Collectors that are still to be told that the link to them was removed. */
  get partingPeers(): readonly string[] {
    return this.records.values
      .filter(({ removedAt }) => removedAt !== undefined)
      .map(({ sourceCollectorId: source, targetCollectorId: target }) =>
        source === this.id ? target : source,
      );
  }

  async *#run(call: TunnelCall, from: string): AsyncGenerator<Uint8Array, undefined> {
    this.calls.push(`${from} ${call.path}`);
    for await (const message of call.messages) yield message;
  }
}

class NetDialer implements Dialer {
  readonly #net: LinkNet;
  readonly #from: string;

  constructor(net: LinkNet, from: string) {
    this.#net = net;
    this.#from = from;
  }

  dial(endpoint: string, field: string): Channel {
    this.check(endpoint, field);
    return new NetChannel(this.#net, this.#from, endpoint);
  }

  check(endpoint: string, field: string): void {
    if (!endpoint.startsWith("denied")) return;
    const description = "not allowed";
    throw new CollectorError("PEER_DENIED", `${field}: ${description}`, {
      violations: [{ field, description }],
    });
  }
}

class NetChannel implements Channel {
  readonly endpoint: string;
  readonly state = "ready";
  readonly #net: LinkNet;
  readonly #from: string;

  constructor(net: LinkNet, from: string, endpoint: string) {
    this.#net = net;
    this.#from = from;
    this.endpoint = endpoint;
  }

  unary(path: string, message: Uint8Array): Promise<UnaryAnswer> {
    const target = this.#target();
    if (target === undefined) return Promise.reject(unreachable());
    if (path !== "/collector.Mesh/Identify") {
      target.calls.push(`${this.#from} ${path} dialled`);
      return Promise.resolve({ message, headers: [], trailers: [] });
    }
    const { connectionId, nonce, proof } = fromBinary(IdentifyRequestSchema, message);
    try {
      const identity = target.links.guard.identify(connectionId, nonce, proof);
      const answer = toBinary(IdentifyResponseSchema, create(IdentifyResponseSchema, identity));
      return Promise.resolve({ message: answer, headers: [], trailers: [] });
    } catch (error) {
      return Promise.reject(toFailure(error));
    }
  }

  stream(
    _path: string,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: CallOptions = {},
  ): StreamAnswer {
    const down = new Pipe<Uint8Array>();
    const answer = {
      headers: Promise.resolve([]),
      messages: down,
      end: new Promise<never>(() => undefined),
    };
    const target = this.#target();
    if (target === undefined) down.fail(unreachable());
    else void this.#carry(target, messages, down, options.signal);
    return answer;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  #target(): NetNode | undefined {
    const target = this.#net.nodeAt(this.endpoint);
    if (target?.isRunning !== true) return undefined;
    const isShut =
      this.#net.hasWall(this.#from, target.id) || this.#net.isFrozen(this.#from, target.id);
    return isShut ? undefined : target;
  }

  async #carry(
    target: NetNode,
    messages: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    down: Pipe<Uint8Array>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const net = this.#net;
    const [from, to] = [this.#from, target.id];
    const up = new Pipe<LinkStep>();
    const wire = {
      from,
      to,
      cut: () => {
        down.fail(new CallFailure("the connection was lost", lost));
        up.fail(new CollectorError("CANCELLED", "the caller cancelled the call"));
        net.leave(wire);
      },
    };
    net.join(wire);
    signal?.addEventListener("abort", wire.cut);
    const sending = (async () => {
      for await (const bytes of messages) {
        if (!net.isFrozen(from, to)) up.push(stepOf(fromBinary(LinkRequestSchema, bytes)));
      }
      if (!net.isFrozen(from, to)) up.end();
    })();
    sending.catch(() => wire.cut());
    try {
      for await (const step of target.links.accept(up)) {
        if (net.isFrozen(to, from)) continue;
        down.push(toBinary(LinkResponseSchema, create(LinkResponseSchema, { step })));
      }
      if (!net.isFrozen(to, from)) down.end();
    } catch (error) {
      down.fail(toFailure(error));
    }
    net.leave(wire);
    // The end of a call ends its request.
    up.fail(new CollectorError("CANCELLED", "the call is over"));
    if (Symbol.asyncIterator in messages) await messages[Symbol.asyncIterator]().return?.();
  }
}

const lost = { code: 14, reason: "PEER_UNAVAILABLE", mayHaveRun: true } as const;

function unreachable(): CallFailure {
  const fields = { code: 14, reason: "PEER_UNAVAILABLE", mayHaveRun: false } as const;
  return new CallFailure("connection refused", fields);
}

function toFailure(error: unknown): CallFailure {
  const status = toConnectError(error);
  return new CallFailure(status.rawMessage, {
    code: status.code,
    trailers: pairsOf(statusTrailers(status)),
    mayHaveRun: true,
  });
}
