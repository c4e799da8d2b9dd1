import {
  type DescMessage,
  type DescMethod,
  fromBinary,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { Invocation, RawMethod } from "../call.ts";
import { bytesOf, isStream, mapEach, toRaw } from "./raw-message.ts";

/** A method whose messages are of the types of its descriptor, over one that takes their bytes. */
export function transcode(desc: DescMethod, raw: RawMethod): Invocation {
  const encode = (message: Message): Message => toRaw(toBinary(desc.input, message));
  const decode = (message: Message): Message => decodeAnswer(desc.output, bytesOf(message));
  return async (input, call) => {
    const request = isStream(input) ? mapEach(input, encode) : encode(input);
    const answer = await raw.invoke(request, call);
    if (!isStream(answer)) return decode(answer);
    if (desc.methodKind === "client_streaming") return decode(await only(answer, desc));
    return mapEach(answer, decode);
  };
}

/** @throws {CollectorError} ANSWER_INVALID */
export function decodeAnswer(desc: DescMessage, bytes: Uint8Array): Message {
  try {
    return fromBinary(desc, bytes);
  } catch (cause) {
    throw answerInvalid(`bytes that are no ${desc.typeName}`, cause);
  }
}

/** @throws {CollectorError} ANSWER_INVALID unless it is one message */
async function only(answer: AsyncIterable<Message>, { name }: DescMethod): Promise<Message> {
  let found: Message | undefined;
  for await (const message of answer) {
    if (found !== undefined) throw answerInvalid(`several messages, and ${name} answers one`);
    found = message;
  }
  if (found === undefined) throw answerInvalid(`no message, and ${name} answers one`);
  return found;
}

function answerInvalid(what: string, cause?: unknown): CollectorError {
  return new CollectorError("ANSWER_INVALID", `the implementation answered ${what}`, { cause });
}
