import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { type StringValue, StringValueSchema } from "@bufbuild/protobuf/wkt";
import {
  type ConnectRouterOptions,
  createConnectRouter,
  type HandlerContext,
} from "@connectrpc/connect";
import type { Compression, UniversalHandler } from "@connectrpc/connect/protocol";
import { compressionGzip } from "@connectrpc/connect-node";
import { CollectorError } from "../../errors.ts";
import type { Limits } from "../../lib/limits.ts";
import type { BoundMethod, Call, Payload } from "../call.ts";
import { namespaceHeader } from "../interceptors/namespace.ts";
import type { JsonCodec } from "../json-codec.ts";
import { toConnectError } from "../status.ts";
import { HttpCall } from "./http-call.ts";

/** The longest time a Node timer takes, in milliseconds: about 24 days. */
export const timerMsMax: number = 2 ** 31 - 1;

/** Answers shorter than this are not worth compressing. */
const compressBytesMin = 1024;

export interface ConnectHandlersOptions {
  readonly limits: Limits;
  readonly codec: JsonCodec;
  /** Fires when calls in flight are given up. */
  readonly shutdown: AbortSignal;
}

/** connect-node's handlers of one method, which speak Connect, gRPC-Web and gRPC. */
interface MethodHandlers {
  readonly json: UniversalHandler;
  readonly binary: UniversalHandler;
}

/**
 * Methods as connect-node serves them.
 *
 * JSON passes connect-node as an opaque text: its own JSON options are fixed per handler, while the
 * types of an Any depend on the namespace that stands in the request. So a method is mounted twice,
 * once as it is, and once with StringValue for its messages and a text codec that makes the document
 * the string's value; the document itself is read and written by our {@link JsonCodec}.
 */
export class ConnectHandlers {
  readonly #handlers = new WeakMap<BoundMethod, MethodHandlers>();
  readonly #codec: JsonCodec;
  readonly #binaryOptions: ConnectRouterOptions;
  readonly #jsonOptions: ConnectRouterOptions;

  constructor({ limits, codec, shutdown }: ConnectHandlersOptions) {
    const options: ConnectRouterOptions = {
      readMaxBytes: limits.messageBytesMax,
      writeMaxBytes: limits.messageBytesMax,
      maxTimeoutMs: timerMsMax,
      shutdownSignal: shutdown,
      acceptCompression: [gzipIn],
    };
    this.#codec = codec;
    this.#binaryOptions = options;
    this.#jsonOptions = {
      ...options,
      acceptCompression: [gzipBoth],
      compressMinBytes: compressBytesMin,
      jsonOptions: documentOptions,
    };
  }

  /** The handler of `method`; made when first asked for. */
  get(method: BoundMethod, format: "json" | "binary"): UniversalHandler {
    let handlers = this.#handlers.get(method);
    if (handlers === undefined) {
      handlers = {
        binary: mount(this.#binaryOptions, method.desc, bindMessages(method)),
        json: mount(this.#jsonOptions, asDocuments(method.desc), this.#bindDocuments(method)),
      };
      this.#handlers.set(method, handlers);
    }
    return handlers[format];
  }

  #bindDocuments(method: BoundMethod): Implementation {
    const { desc, isRunTime = false } = method;
    const read = (document: Message, call: Call): Message => {
      const text = (document as StringValue).value;
      const namespace = call.requestMetadata.get(namespaceHeader);
      return isRunTime
        ? this.#codec.readRunTime(desc.input, text, namespace)
        : this.#codec.read(desc.input, text, namespace);
    };
    const write = (message: Message, call: Call): Message =>
      create(StringValueSchema, {
        value: this.#codec.write(desc.output, message, call.namespace),
      });
    return implement(method, read, write);
  }
}

type Implementation = (input: Payload, context: HandlerContext) => unknown;
type Convert = (message: Message, call: Call) => Message;

function bindMessages(method: BoundMethod): Implementation {
  const same: Convert = (message) => message;
  return implement(method, same, same);
}

function implement(method: BoundMethod, read: Convert, write: Convert): Implementation {
  const { desc } = method;
  const invoke = async (input: Payload, call: Call): Promise<Payload> =>
    method.invoke(
      Symbol.asyncIterator in input
        ? convertEach(input, (item) => read(item, call))
        : read(input, call),
      call,
    );
  if (desc.methodKind === "unary" || desc.methodKind === "client_streaming") {
    return async (input, context) => {
      const call = new HttpCall(desc, context);
      try {
        return write((await untilAborted(invoke(input, call), call.signal)) as Message, call);
      } catch (error) {
        throw toConnectError(error, call.requestId);
      }
    };
  }
  return async function* answers(input, context) {
    const call = new HttpCall(desc, context);
    try {
      const output = (await invoke(input, call)) as AsyncIterable<Message>;
      for await (const item of output) yield write(item, call);
    } catch (error) {
      throw toConnectError(error, call.requestId);
    }
  };
}

async function* convertEach(
  items: AsyncIterable<Message>,
  convert: (item: Message) => Message,
): AsyncIterable<Message> {
  for await (const item of items) yield convert(item);
}

/** What `work` comes to, or the reason of `signal` if that is first; the work is told, not awaited. */
async function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) throw reasonOf(signal);
  const { promise, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => {
    reject(reasonOf(signal));
  };
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new CollectorError("CANCELLED", "the call was cancelled");
}

function mount(
  options: ConnectRouterOptions,
  method: DescMethod,
  implementation: Implementation,
): UniversalHandler {
  const router = createConnectRouter(options);
  // The implementation fits the kind of the method, which a DescMethod does not say in its type.
  router.rpc(method as never, implementation as never);
  const handler = router.handlers[0];
  if (handler === undefined)
    throw new Error(`connect-node mounts no handler for ${String(method)}`);
  return handler;
}

function asDocuments(method: DescMethod): DescMethod {
  return { ...method, input: StringValueSchema, output: StringValueSchema };
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Makes a JSON document the value of a StringValue, whose JSON form is a string literal. The text
 * codec is an option that connect-node reads and its types leave out.
 */
const documentOptions = {
  ignoreUnknownFields: false,
  textDecoder: { decode: (bytes: Uint8Array): string => JSON.stringify(decodeUtf8(bytes)) },
  textEncoder: {
    encode: (literal: string): Uint8Array => Buffer.from(JSON.parse(literal) as string),
  },
};

function decodeUtf8(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (error) {
    throw toConnectError(
      new CollectorError("JSON_INVALID", "the request is not JSON: it is no valid UTF-8", {
        cause: error,
      }),
    );
  }
}

/** Takes compressed requests; what is answered is sent as it is. */
const gzipIn: Compression = compressionGzip;

const gzipAsync = promisify(gzip);

/** Compresses JSON, which shrinks; quickly, because it is done for every answer. */
const gzipBoth: Compression = {
  name: "gzip",
  decompress: compressionGzip.decompress,
  compress: async (bytes) => new Uint8Array(await gzipAsync(bytes, { level: 1 })),
};
