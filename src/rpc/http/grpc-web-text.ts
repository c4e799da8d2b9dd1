import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

/** Base64 is read in groups of so many characters. */
const groupChars = 4;

/**
 * Decodes a gRPC-Web body in its text form chunk by chunk. The text may be several base64 texts, each
 * with its padding, one after the other.
 */
export function decodeWebText(): (chunk: Uint8Array) => Uint8Array {
  let rest = "";
  return (chunk) => {
    const text = rest + Buffer.from(chunk).toString("latin1");
    const whole = text.length - (text.length % groupChars);
    rest = text.slice(whole);
    const parts = text.slice(0, whole).match(/[^=]+={0,2}/g) ?? [];
    return Buffer.concat(parts.map((part) => Buffer.from(part, "base64")));
  };
}

/** Turns an answer to gRPC-Web into its text form. */
export function encodeWebText(
  answer: {
    -readonly [K in keyof UniversalServerResponse]: UniversalServerResponse[K];
  },
): void {
  answer.header?.set("content-type", "application/grpc-web-text+proto");
  if (answer.body !== undefined && answer.body !== null) answer.body = encodeEach(answer.body);
}

async function* encodeEach(body: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const chunk of body) yield Buffer.from(Buffer.from(chunk).toString("base64"));
}
