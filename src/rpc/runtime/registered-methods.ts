import type { DescMethod } from "@bufbuild/protobuf";
import type { TypeSource } from "../../registry/type-snapshot.ts";
import type { BoundMethod, Interceptor, Invocation, RawMethod, RunTimeMethods } from "../call.ts";
import { checkNamespaceHeader } from "../interceptors/namespace.ts";
import { findRegistered } from "../interceptors/validate.ts";
import type { Forwarder } from "./forwarder.ts";
import { transcode } from "./transcode.ts";

export interface RegisteredMethodsOptions {
  readonly types: TypeSource;
  readonly defaultNamespace: string;
  readonly forwarder: Forwarder;
  /** What every call passes, outermost first. */
  readonly interceptors: readonly Interceptor[];
}

/** The methods of the services that are registered at run time, as the transports call them. */
export class RegisteredMethods implements RunTimeMethods {
  readonly #types: TypeSource;
  readonly #defaultNamespace: string;
  readonly #unary: Invocation;
  readonly #stream: Invocation;
  // A changed file has other descriptors, so what belongs to the old ones goes with them.
  readonly #raw = new WeakMap<DescMethod, RawMethod>();
  readonly #typed = new WeakMap<DescMethod, BoundMethod>();

  constructor({ types, defaultNamespace, forwarder, interceptors }: RegisteredMethodsOptions) {
    this.#types = types;
    this.#defaultNamespace = defaultNamespace;
    const wrap = (invocation: Invocation): Invocation =>
      interceptors.reduceRight((next, interceptor) => interceptor(next), invocation);
    this.#unary = wrap(forwarder.unary);
    this.#stream = wrap(forwarder.stream);
  }

  raw(serviceName: string, methodName: string, namespace: string | undefined): RawMethod {
    return this.#rawOf(this.#find(serviceName, methodName, namespace));
  }

  typed(serviceName: string, methodName: string, namespace: string | undefined): BoundMethod {
    const desc = this.#find(serviceName, methodName, namespace);
    let method = this.#typed.get(desc);
    if (method === undefined) {
      method = { desc, isRunTime: true, invoke: transcode(desc, this.#rawOf(desc)) };
      this.#typed.set(desc, method);
    }
    return method;
  }

  #rawOf(desc: DescMethod): RawMethod {
    let method = this.#raw.get(desc);
    if (method === undefined) {
      const kind = desc.methodKind;
      method = { kind, invoke: kind === "unary" ? this.#unary : this.#stream };
      this.#raw.set(desc, method);
    }
    return method;
  }

  #find(serviceName: string, methodName: string, namespace = this.#defaultNamespace): DescMethod {
    checkNamespaceHeader(namespace);
    return findRegistered(this.#types, namespace, serviceName, methodName);
  }
}
