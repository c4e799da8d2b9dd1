import { type DescMethod, fromBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Call, RequestMetadata, ResponseMetadata, Routes } from "../call.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import { isStream } from "./raw-message.ts";

/**
 * Runs a method of a built-in service for a call that asks for it: through its interceptors, with the
 * metadata, the deadline and so the rights of that call.
 *
 * @returns bytes of the answer
 */
export async function callHere(
  routes: Routes,
  method: { readonly namespace: string; readonly desc: DescMethod; readonly input: Uint8Array },
  call: Call,
): Promise<Uint8Array> {
  const { desc, input, namespace } = method;
  const bound = routes.find(desc.parent.typeName, desc.name);
  if (bound === undefined) {
    const text = `${desc.parent.typeName}/${desc.name} is not served here`;
    throw new CollectorError("METHOD_UNIMPLEMENTED", text);
  }
  const request = fromBinary(bound.desc.input, input);
  const answer = await bound.invoke(request, new InnerCall(call, desc, namespace));
  if (isStream(answer)) throw new TypeError("a stream was answered to one message");
  return encodeMessage(bound.desc.output, answer, 0);
}

/** A call that another one asks for: of its caller, with its time, under its id in the log. */
class InnerCall implements Call {
  readonly serviceName: string;
  readonly methodName: string;
  readonly protocol = "local";
  readonly peer: string;
  readonly via: Call["via"];
  requestId: string;
  namespace = "";
  deadlineMs: number | undefined;
  readonly requestMetadata: RequestMetadata;
  readonly responseHeaders: ResponseMetadata = discarded;
  readonly responseTrailers: ResponseMetadata = discarded;
  readonly #outer: Call;

  constructor(outer: Call, { parent, name }: DescMethod, namespace: string) {
    this.serviceName = parent.typeName;
    this.methodName = name;
    this.peer = outer.peer;
    this.via = outer.via;
    this.requestId = outer.requestId;
    this.deadlineMs = outer.deadlineMs;
    this.requestMetadata = withNamespace(outer.requestMetadata, namespace);
    this.#outer = outer;
  }

  get signal(): AbortSignal {
    return this.#outer.signal;
  }
}

function withNamespace(metadata: RequestMetadata, namespace: string): RequestMetadata {
  return {
    get: (name) => (name === namespaceHeader ? namespace : metadata.get(name)),
    getBinary: (name) => metadata.getBinary(name),
    *entries() {
      yield [namespaceHeader, namespace];
      for (const entry of metadata.entries()) if (entry[0] !== namespaceHeader) yield entry;
    },
  };
}

/** What a handler sets on an answer that stays in the process has no reader. */
const discarded: ResponseMetadata = { set: () => undefined, pass: () => undefined };
