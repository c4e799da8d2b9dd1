import {
  create,
  type DescMessage,
  type DescMethodStreaming,
  type DescMethodUnary,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import type { StreamResponse, Transport, UnaryResponse } from "@connectrpc/connect";
import {
  CallFailure,
  type CallOptions,
  type Channel,
  type MetadataEntries,
} from "../../mesh/channel.ts";
import { encodeMessage } from "../encoding/message-encoder.ts";
import { ForwardedError } from "../runtime/forwarded-error.ts";
import { mapEach } from "../runtime/raw-message.ts";

type HeadersInit = ConstructorParameters<typeof Headers>[0];

/** A transport for clients of generated services over a channel. What it throws is a ConnectError. */
export function channelTransport(channel: Channel): Transport {
  return {
    async unary<I extends DescMessage, O extends DescMessage>(
      method: DescMethodUnary<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: MessageInitShape<I>,
    ): Promise<UnaryResponse<I, O>> {
      const options = optionsOf(signal, timeoutMs, header);
      try {
        const answer = await channel.unary(pathOf(method), encode(method.input, input), options);
        return {
          stream: false,
          service: method.parent,
          method,
          header: toHeaders(answer.headers),
          trailer: toHeaders(answer.trailers),
          message: fromBinary(method.output, answer.message),
        };
      } catch (error) {
        throw toThrown(error);
      }
    },

    async stream<I extends DescMessage, O extends DescMessage>(
      method: DescMethodStreaming<I, O>,
      signal: AbortSignal | undefined,
      timeoutMs: number | undefined,
      header: HeadersInit | undefined,
      input: AsyncIterable<MessageInitShape<I>>,
    ): Promise<StreamResponse<I, O>> {
      const options = optionsOf(signal, timeoutMs, header);
      const requests = mapEach(input, (message) => encode(method.input, message));
      const answer = channel.stream(pathOf(method), requests, options);
      const trailer = new Headers();
      return {
        stream: true,
        service: method.parent,
        method,
        header: toHeaders(await answer.headers),
        trailer,
        message: decodeEach<O>(answer.messages, method.output, async () => {
          const { trailers } = await answer.end;
          for (const [name, value] of trailers) trailer.append(name, value);
        }),
      };
    },
  };
}

function pathOf(method: { readonly name: string; readonly parent: { readonly typeName: string } }) {
  return `/${method.parent.typeName}/${method.name}`;
}

function encode<I extends DescMessage>(desc: I, message: MessageInitShape<I>): Uint8Array {
  return encodeMessage(desc, create(desc, message), 0);
}

async function* decodeEach<O extends DescMessage>(
  messages: AsyncIterable<Uint8Array>,
  desc: O,
  onEnd: () => Promise<void>,
): AsyncIterable<MessageShape<O>> {
  try {
    for await (const bytes of messages) yield fromBinary(desc, bytes);
    await onEnd();
  } catch (error) {
    throw toThrown(error);
  }
}

function optionsOf(
  signal: AbortSignal | undefined,
  timeoutMs: number | undefined,
  header: HeadersInit | undefined,
): CallOptions {
  const hasDeadline = timeoutMs !== undefined && timeoutMs > 0;
  return {
    signal,
    deadlineMs: hasDeadline ? performance.now() + timeoutMs : undefined,
    metadata: header === undefined ? undefined : new Headers(header),
  };
}

function toHeaders(entries: MetadataEntries): Headers {
  const headers = new Headers();
  for (const [name, value] of entries) headers.append(name, value);
  return headers;
}

function toThrown(error: unknown): unknown {
  return error instanceof CallFailure ? new ForwardedError(error) : error;
}
