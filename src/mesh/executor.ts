import { createHash } from "node:crypto";
import type { CallOptions, Channel, FramedMessage, StreamAnswer, UnaryAnswer } from "./channel.ts";
import { streamFramed } from "./framed.ts";

/**
 * How an executor is reached: a function in this process, a gRPC server that is dialled, a worker that
 * has attached itself, or a linked collector.
 */
export type ExecutorKind = "handler" | "endpoint" | "worker" | "peer";

/** What runs the methods of one service in one namespace. One that runs several is several of these. */
export interface Executor {
  /** The same for every service that it runs. */
  readonly id: string;
  readonly kind: ExecutorKind;
  readonly namespace: string;
  /** Full name. */
  readonly serviceName: string;
  /** What is dialled; empty if nothing is. */
  readonly address: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Id of the collector that it is at. */
  readonly collectorId: string;
  /** Of a peer: the linked collector that calls are sent to, which passes them on if it is another one. */
  readonly neighborId?: string;
  /** Of a peer: the collectors that calls pass, the linked one first, the one that it is at last. */
  readonly way?: readonly string[];
  /** Since when it is known here, in milliseconds since 1970. */
  readonly sinceMs: number;
  /** Whether calls are given to it. */
  readonly ready: boolean;
  /** Why not; empty if it is ready. For people. */
  readonly problem: string;
  /** Calls that it is running for this server. {@link callUnary} and {@link callStream} count them. */
  inFlight: number;
  /** True if a call that it is given has to wait: others are preferred. */
  readonly isFull?: boolean;
  readonly channel: Channel;
}

/** Knows who runs a service. Asked for every call. */
export interface ExecutorSource {
  /** Those that are not ready, too. */
  executorsOf(namespace: string, serviceName: string): readonly Executor[];
}

/** What the choice of an executor has to heed. */
export interface ExecutorWish {
  /** Labels that it must have, with these values. */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Calls with the same key go to the same executor, as long as it is ready. */
  readonly sticky?: string | undefined;
  /** Those that were tried already. */
  readonly exclude?: ReadonlySet<Executor> | undefined;
}

const none: readonly Executor[] = [];

/**
 * What runs services at this collector: handlers, endpoints and workers. Whoever brings one adds it,
 * and takes it out again by disposing what it got.
 */
export class LocalExecutors implements ExecutorSource {
  readonly #byNamespace = new Map<string, Map<string, readonly Executor[]>>();
  readonly #listeners = new Set<(namespace: string, serviceName: string) => void>();

  add(executor: Executor): Disposable {
    const { namespace, serviceName } = executor;
    this.#set(namespace, serviceName, [...this.executorsOf(namespace, serviceName), executor]);
    return {
      [Symbol.dispose]: () => {
        const before = this.executorsOf(namespace, serviceName);
        const rest = before.filter((other) => other !== executor);
        if (rest.length < before.length) this.#set(namespace, serviceName, rest);
      },
    };
  }

  executorsOf(namespace: string, serviceName: string): readonly Executor[] {
    return this.#byNamespace.get(namespace)?.get(serviceName) ?? none;
  }

  /** Every executor, or every one of a namespace, in no order. */
  *all(namespace?: string): Iterable<Executor> {
    for (const [name, services] of this.#byNamespace) {
      if (namespace !== undefined && name !== namespace) continue;
      for (const executors of services.values()) yield* executors;
    }
  }

  /** Tells when an executor of a service was added or taken out, after it was. */
  subscribe(listener: (namespace: string, serviceName: string) => void): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  #set(namespace: string, serviceName: string, executors: readonly Executor[]): void {
    let services = this.#byNamespace.get(namespace);
    if (services === undefined) {
      services = new Map();
      this.#byNamespace.set(namespace, services);
    }
    if (executors.length > 0) services.set(serviceName, executors);
    else services.delete(serviceName);
    if (services.size === 0) this.#byNamespace.delete(namespace);
    for (const listener of this.#listeners) listener(namespace, serviceName);
  }
}

/**
 * Chooses who runs a call: of two that are picked by chance, the one that runs fewer calls. A sticky
 * key chooses by a hash instead, so that most keys stay where they are when executors come and go.
 *
 * @returns undefined if none of them is ready and fits
 */
export function chooseExecutor(
  candidates: readonly Executor[],
  wish: ExecutorWish = {},
): Executor | undefined {
  const [first] = candidates;
  if (first === undefined) return undefined;
  if (candidates.length === 1) return fits(first, wish) ? first : undefined;
  const fitting = candidates.filter((executor) => fits(executor, wish));
  if (fitting.length < 2) return fitting[0];
  if (wish.sticky !== undefined) return stickTo(wish.sticky, fitting);
  const free = fitting.filter(({ isFull }) => isFull !== true);
  return free.length === 1 ? free[0] : lessBusy(free.length === 0 ? fitting : free);
}

/** What becomes of a call when it has ended. */
export interface UnaryEnd {
  readonly onAnswer: () => void;
  /** @returns what the call answers instead */
  readonly onFailure: (error: unknown) => Promise<UnaryAnswer>;
}

/** One message for one message; see {@link Channel.unary}. */
export function callUnary(
  executor: Executor,
  path: string,
  message: Uint8Array,
  options?: CallOptions,
  end?: UnaryEnd,
): Promise<UnaryAnswer> {
  const answer = executor.channel.unary(path, message, options);
  executor.inFlight += 1;
  return answer.then(
    (value) => {
      executor.inFlight -= 1;
      end?.onAnswer();
      return value;
    },
    (error: unknown) => {
      executor.inFlight -= 1;
      if (end !== undefined) return end.onFailure(error);
      throw error;
    },
  );
}

/** A call of any kind, whose messages are passed on. It is in flight until its `end`. */
export function callStream(
  executor: Executor,
  path: string,
  messages: AsyncIterable<FramedMessage> | Iterable<FramedMessage>,
  options?: CallOptions,
): StreamAnswer<FramedMessage> {
  const answer = streamFramed(executor.channel, path, messages, options);
  executor.inFlight += 1;
  const done = (): void => {
    executor.inFlight -= 1;
  };
  answer.end.then(done, done);
  return answer;
}

function fits(executor: Executor, { labels, exclude }: ExecutorWish): boolean {
  if (!executor.ready || exclude?.has(executor) === true) return false;
  if (labels === undefined) return true;
  return Object.entries(labels).every(([key, value]) => executor.labels[key] === value);
}

function lessBusy(executors: readonly Executor[]): Executor | undefined {
  const at = Math.floor(Math.random() * executors.length);
  // Another one than the first, each as likely.
  const step = 1 + Math.floor(Math.random() * (executors.length - 1));
  const one = executors[at];
  const other = executors[(at + step) % executors.length];
  if (one === undefined || other === undefined) return one;
  return other.inFlight < one.inFlight ? other : one;
}

/** Rendezvous hashing: the executor whose hash with the key is the highest. */
function stickTo(key: string, executors: readonly Executor[]): Executor | undefined {
  let best: Executor | undefined;
  let bestWeight = "";
  for (const executor of executors) {
    const hash = createHash("sha256").update(`${key.length}:${key}${executor.id}`);
    const weight = hash.digest("hex");
    if (best === undefined || weight > bestWeight) {
      best = executor;
      bestWeight = weight;
    }
  }
  return best;
}
