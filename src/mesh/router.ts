import { CollectorError } from "../errors.ts";
import type { CallFailure } from "./channel.ts";
import type { Executor, ExecutorWish } from "./executor.ts";

/** What the choice of who runs a call has to heed. */
export interface RouteWish extends ExecutorWish {
  /** Collector that has to run it. */
  readonly target?: string | undefined;
  /** Where it is to be run if there is a choice: here, by default. */
  readonly prefer?: "local" | "remote" | undefined;
  /** Collectors that the call has passed: it is sent to none of them. */
  readonly route?: readonly string[] | undefined;
}

/** Decides who runs a call. Whoever forwards calls asks here, once for each try. */
export interface Router {
  /**
   * @param serviceName full name of a service that is registered in the namespace
   * @throws {CollectorError} SERVICE_UNAVAILABLE if there is none that could run it now; HOPS_EXCEEDED if
   * there is, and farther than the call may still travel
   */
  route(namespace: string, serviceName: string, methodName: string, wish?: RouteWish): Executor;
  /** Tells how a try has ended; without a failure, it was answered. */
  report?(executor: Executor, failure: CallFailure | undefined): void;
}

/** A service that is registered, and that nothing can run now. */
export function unavailable(
  namespace: string,
  serviceName: string,
  candidates: readonly Executor[],
): CollectorError {
  const [first] = candidates;
  const broken = candidates.find(({ ready }) => !ready);
  const why =
    first === undefined
      ? "nothing runs it: register endpoints with RegisterService, or attach a worker"
      : broken === undefined
        ? "none of those that run it fits the call"
        : `none of the ${candidates.length} that run it is ready: ${broken.problem}`;
  return new CollectorError(
    "SERVICE_UNAVAILABLE",
    `${serviceName} is registered in namespace \`${namespace}\`, but ${why}`,
    { subject: { namespace, service: serviceName } },
  );
}
