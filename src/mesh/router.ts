import { CollectorError } from "../errors.ts";
import {
  chooseExecutor,
  type Executor,
  type ExecutorSource,
  type ExecutorWish,
} from "./executor.ts";

/** Decides who runs a call. Whoever forwards calls asks here, once for each try. */
export interface Router {
  /**
   * @param serviceName full name of a service that is registered in the namespace
   * @throws {CollectorError} SERVICE_UNAVAILABLE if there is none that could run it now
   */
  route(namespace: string, serviceName: string, methodName: string, wish?: ExecutorWish): Executor;
}

/** Routes to what runs services at this collector, and nowhere else. */
export class LocalRouter implements Router {
  readonly #executors: ExecutorSource;

  constructor(executors: ExecutorSource) {
    this.#executors = executors;
  }

  route(
    namespace: string,
    serviceName: string,
    _methodName: string,
    wish?: ExecutorWish,
  ): Executor {
    const candidates = this.#executors.executorsOf(namespace, serviceName);
    const chosen = chooseExecutor(candidates, wish);
    if (chosen !== undefined) return chosen;
    throw unavailable(namespace, serviceName, candidates);
  }
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
