import {
  create,
  type DescMethod,
  type DescService,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { type Status, StatusSchema } from "../gen/collector/common_pb.ts";
import type {
  BoundMethod,
  Call,
  Interceptor,
  Invocation,
  Payload,
  Routes,
  RunTimeMethods,
  ServiceHandlers,
} from "./call.ts";

type AnyHandler = (input: Payload, call: Call) => Promise<object> | AsyncIterable<object>;

/** Every method that is served here, with its interceptors around it. */
export class RouteTable implements Routes {
  readonly #methods = new Map<string, Map<string, BoundMethod>>();
  readonly #interceptors: (method: DescMethod) => readonly Interceptor[];
  readonly runTime: RunTimeMethods | undefined;

  /**
   * @param interceptors the chain of a method, outermost first; asked once, when the method is added
   * @param runTime the methods that are not known yet
   */
  constructor(
    interceptors: (method: DescMethod) => readonly Interceptor[],
    runTime?: RunTimeMethods,
  ) {
    this.#interceptors = interceptors;
    this.runTime = runTime;
  }

  /** Serves every method of `service`. */
  add<S extends DescService>(service: S, handlers: ServiceHandlers<S>): void {
    this.#methods.set(service.typeName, bindHandlers(service, handlers, this.#interceptors));
  }

  find(serviceName: string, methodName: string): BoundMethod | undefined {
    return this.#methods.get(serviceName)?.get(methodName);
  }

  *list(): Iterable<BoundMethod> {
    for (const methods of this.#methods.values()) yield* methods.values();
  }
}

/**
 * The methods of a service by name, run by its handlers.
 *
 * @param interceptors what is put around each, outermost first
 */
export function bindHandlers<S extends DescService>(
  service: S,
  handlers: ServiceHandlers<S>,
  interceptors: (method: DescMethod) => readonly Interceptor[] = () => [],
): Map<string, BoundMethod> {
  const methods = new Map<string, BoundMethod>();
  for (const desc of service.methods) {
    const handler = (handlers as Record<string, AnyHandler>)[desc.localName];
    if (handler === undefined) throw new Error(`${service.typeName}/${desc.name} has no handler`);
    const invoke = interceptors(desc).reduceRight<Invocation>(
      (next, interceptor) => interceptor(next),
      toInvocation(desc, handler.bind(handlers)),
    );
    methods.set(desc.name, { desc, invoke });
  }
  return methods;
}

function toInvocation(desc: DescMethod, handler: AnyHandler): Invocation {
  const complete = completer(desc);
  if (desc.methodKind === "unary" || desc.methodKind === "client_streaming") {
    return (input, call) => {
      const answer = handler(input, call);
      // Of a program without types it may be anything.
      return answer instanceof Promise
        ? answer.then(complete)
        : Promise.resolve(answer as object).then(complete);
    };
  }
  return (input, call) =>
    Promise.resolve(completeEach(handler(input, call) as AsyncIterable<object>, complete));
}

async function* completeEach(
  items: AsyncIterable<object>,
  complete: (item: object) => Message,
): AsyncIterable<Message> {
  for await (const item of items) yield complete(item);
}

/**
 * Makes a handler's answer the message that goes out: where the contract has a `status` in the
 * answer, one that succeeds carries it with code OK.
 */
function completer(desc: DescMethod): (item: object) => Message {
  const hasStatus = desc.output.fields.some(
    (field) => field.name === "status" && field.message?.typeName === StatusSchema.typeName,
  );
  return (item) => {
    const message = create(desc.output, item as MessageInitShape<typeof desc.output>);
    if (hasStatus) (message as Message & { status?: Status }).status ??= okStatus();
    return message;
  };
}

/** Made as a literal: `create` would cost more than the rest of a call's way back. */
function okStatus(): Status {
  return { $typeName: "collector.Status", code: 0, message: "", details: {} };
}
