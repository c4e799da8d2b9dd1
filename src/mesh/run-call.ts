import type { CallOptions, FramedMessage, StreamAnswer, UnaryAnswer } from "./channel.ts";
import { type CallFailure, CallFailure as Failure } from "./channel.ts";
import { callStream, callUnary, type Executor } from "./executor.ts";
import { remoteErrorOf } from "./remote-error.ts";
import type { Router, RouteWish } from "./router.ts";
import type { IsRepeatable } from "./routing/repeatable.ts";

/** A call of a registered method, to be run by whoever the router says. */
export interface RoutedCall {
  readonly namespace: string;
  readonly serviceName: string;
  readonly methodName: string;
  readonly options: CallOptions;
  readonly wish?: RouteWish | undefined;
  readonly isRepeatable?: IsRepeatable | undefined;
  /** Told of each executor that is tried. */
  readonly onTry?: ((executor: Executor) => void) | undefined;
}

type Messages = AsyncIterable<FramedMessage> | Iterable<FramedMessage>;

/** How many executors are tried for one call. */
const triesMax = 4;

/**
 * One message for one message. If an executor provably has not begun to work on it, another one is
 * tried; and so it is if the executor was lost and the method may be run again.
 *
 * @throws {CollectorError} SERVICE_UNAVAILABLE if there is no executor
 * @throws {CallFailure}
 */
export function runUnary(
  router: Router,
  call: RoutedCall,
  message: Uint8Array,
): Promise<UnaryAnswer> {
  const tries = new Tries(router, call);
  const path = pathOf(call);
  // No async function: each of those costs half a microsecond a call, and this has one for each turn.
  const next = (): Promise<UnaryAnswer> => {
    const executor = tries.next();
    const onFailure = (error: unknown): Promise<UnaryAnswer> => {
      if (tries.mayGoOn(executor, error)) return next();
      throw error;
    };
    const onAnswer = (): void => router.report?.(executor, undefined);
    return callUnary(executor, path, message, call.options, { onAnswer, onFailure });
  };
  try {
    return next();
  } catch (error) {
    return Promise.reject(error);
  }
}

/**
 * A call of any kind, whose headers are there when the promise resolves. Another executor is tried as
 * in {@link runUnary}, as long as nothing was taken from `messages`.
 *
 * @throws {CollectorError} SERVICE_UNAVAILABLE if there is no executor
 */
export async function runStream(
  router: Router,
  call: RoutedCall,
  messages: Messages,
): Promise<StreamAnswer<FramedMessage>> {
  const tries = new Tries(router, call);
  const path = pathOf(call);
  let isTouched = false;
  const untilTouched: Messages = Array.isArray(messages)
    ? messages
    : {
        [Symbol.asyncIterator]: () => {
          isTouched = true;
          return iteratorOf(messages);
        },
      };
  for (;;) {
    const executor = tries.next();
    const answer = callStream(executor, path, untilTouched, call.options);
    const failure = await earlyFailure(answer);
    if (failure === undefined) {
      router.report?.(executor, undefined);
      return answer;
    }
    const mayGoOn = tries.mayGoOn(executor, failure);
    if (isTouched || !mayGoOn) return answer;
  }
}

/** Waits for the headers of an answer. @returns what the call failed with, if it was never answered */
export async function earlyFailure({
  headers,
  end,
}: Pick<StreamAnswer, "headers" | "end">): Promise<CallFailure | undefined> {
  await headers;
  // It is known by now whether there is any.
  const ended = await Promise.race([end, Promise.resolve(undefined)]);
  return ended?.failure;
}

/** The executors that are tried for one call, one after the other. */
class Tries {
  readonly #router: Router;
  readonly #call: RoutedCall;
  #tried: Set<Executor> | undefined;
  #last: CallFailure | undefined;

  constructor(router: Router, call: RoutedCall) {
    this.#router = router;
    this.#call = call;
  }

  next(): Executor {
    const { namespace, serviceName, methodName, wish } = this.#call;
    const exclude = this.#tried;
    const asked = exclude === undefined ? wish : { ...wish, exclude };
    let executor: Executor;
    try {
      executor = this.#router.route(namespace, serviceName, methodName, asked);
    } catch (error) {
      // What the last one failed with says more than that there is none left.
      throw this.#last ?? error;
    }
    this.#call.onTry?.(executor);
    return executor;
  }

  /** Whether another executor may be tried after `executor` has failed. */
  mayGoOn(executor: Executor, error: unknown): boolean {
    if (!(error instanceof Failure)) return false;
    this.#router.report?.(executor, error);
    const isSafe = isUnsent(error) || isRefusedBy(executor, error);
    const { isRepeatable, methodName } = this.#call;
    if (!isSafe && !(isLost(error) && isRepeatable?.(executor, methodName) === true)) return false;
    this.#last = error;
    this.#tried ??= new Set();
    this.#tried.add(executor);
    return this.#tried.size < triesMax;
  }
}

/** Whether a call has provably not begun, and may do so elsewhere. */
function isUnsent({ mayHaveRun, reason }: CallFailure): boolean {
  if (mayHaveRun) return false;
  return (
    reason === undefined ||
    reason === "PEER_UNAVAILABLE" ||
    reason === "PEER_DENIED" ||
    reason === "OVERLOADED"
  );
}

/** What a linked collector refuses a call with before it is run. */
const refusals: ReadonlySet<string> = new Set([
  "SERVICE_UNAVAILABLE",
  "SHUTTING_DOWN",
  "OVERLOADED",
  "CALL_LOOP",
  "HOPS_EXCEEDED",
]);

function isRefusedBy(executor: Executor, failure: CallFailure): boolean {
  if (executor.kind !== "peer" || !failure.isRemote) return false;
  return refusals.has(remoteErrorOf(failure)?.reason ?? "");
}

/** Whether the other end was lost while it had the call. */
function isLost({ reason, mayHaveRun }: CallFailure): boolean {
  return mayHaveRun && reason === "PEER_UNAVAILABLE";
}

function pathOf({ serviceName, methodName }: RoutedCall): string {
  return `/${serviceName}/${methodName}`;
}

function iteratorOf(messages: Messages): AsyncIterator<FramedMessage> {
  if (Symbol.asyncIterator in messages) return messages[Symbol.asyncIterator]();
  const iterator = messages[Symbol.iterator]();
  return {
    next: () => Promise.resolve(iterator.next()),
    return: () => Promise.resolve(iterator.return?.() ?? { done: true, value: undefined }),
  };
}
