import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { DescMethod, DescService, JsonValue, Message } from "@bufbuild/protobuf";
import type { Client } from "../client/client.ts";
import { ClientError } from "../client/client-error.ts";
import type { WorkerCall, WorkerHandlers } from "../client/worker-handlers.ts";
import { codeOf } from "./failure.ts";
import { parseDocument } from "./json-input.ts";

/** What is told to a caller of what a command has complained of, at most. */
const complaintCharsMax = 1000;

/**
 * Handlers that run a command of the shell for each call: requests go to its stdin as JSON, a line each, and
 * every line of its stdout is an answer. COLLECTOR_SERVICE and COLLECTOR_METHOD tell it what is called. A
 * command that ends with another code than 0 fails the call, with the last line of its stderr.
 */
export function commandHandlers(
  client: Client,
  service: DescService,
  command: string,
): WorkerHandlers<DescService> {
  const handlers: Record<string, unknown> = {};
  for (const method of service.methods) {
    const answers = (input: Message | AsyncIterable<Message>, call: WorkerCall) =>
      runCommand({ client, method, command, call }, input);
    handlers[method.localName] = answersOnce(method)
      ? async (input: Message | AsyncIterable<Message>, call: WorkerCall) =>
          await onlyOne(answers(input, call), method)
      : answers;
  }
  // One for every method, under the name that it goes by.
  return handlers as WorkerHandlers<DescService>;
}

/** Of gRPC, for what callers are told. */
const codes = { unknown: 2, internal: 13 } as const;

function toCaller(message: string, code: (typeof codes)[keyof typeof codes]): ClientError {
  return new ClientError("UNRECOGNIZED", message, { code });
}

interface CommandCall {
  readonly client: Client;
  readonly method: DescMethod;
  readonly command: string;
  readonly call: WorkerCall;
}

async function* runCommand(
  { client, method, command, call }: CommandCall,
  input: Message | AsyncIterable<Message>,
): AsyncIterable<Message> {
  const child = spawn(command, {
    shell: true,
    stdio: ["pipe", "pipe", "pipe"],
    signal: call.signal,
    env: {
      ...process.env,
      COLLECTOR_SERVICE: call.serviceName,
      COLLECTOR_METHOD: call.methodName,
    },
  });
  const ended = once(child, "close");
  // It is awaited last; until then a failure waits too.
  ended.catch(() => undefined);
  let complaint = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    complaint = (complaint + text).slice(-complaintCharsMax);
  });
  const fed = pipeline(Readable.from(linesOf(client, input)), child.stdin);
  fed.catch(() => undefined);
  try {
    let number = 0;
    for await (const line of createInterface({ input: child.stdout, crlfDelay: Infinity })) {
      number += 1;
      if (line.trim() === "") continue;
      yield await client.fromJson(
        method.output,
        parseDocument({ where: `line ${number}`, text: line }),
      );
    }
    await ended;
    const { exitCode, signalCode } = child;
    if (exitCode !== 0) throw failed(exitCode ?? signalCode, complaint);
    await fedUnlessClosed(fed);
  } finally {
    child.kill();
  }
}

async function* linesOf(
  client: Client,
  input: Message | AsyncIterable<Message>,
): AsyncIterable<string> {
  const requests = Symbol.asyncIterator in input ? input : [input];
  for await (const request of requests) {
    const json: JsonValue = await client.toJson(request);
    yield `${JSON.stringify(json)}\n`;
  }
}

/** A command may answer without having read all that it was sent. */
async function fedUnlessClosed(fed: Promise<void>): Promise<void> {
  try {
    await fed;
  } catch (error) {
    if (codeOf(error) !== "EPIPE" && codeOf(error) !== "ERR_STREAM_PREMATURE_CLOSE") throw error;
  }
}

function failed(how: number | string | null, complaint: string): ClientError {
  const last = complaint.trim().split("\n").at(-1) ?? "";
  return toCaller(last === "" ? `the command ended with ${how}` : last, codes.unknown);
}

function answersOnce({ methodKind }: DescMethod): boolean {
  return methodKind === "unary" || methodKind === "client_streaming";
}

async function onlyOne(answers: AsyncIterable<Message>, method: DescMethod): Promise<Message> {
  const all = await Array.fromAsync(answers);
  const [first] = all;
  if (first !== undefined && all.length === 1) return first;
  const text = `the command gave ${all.length} answers, and ${method.name} has one`;
  throw toCaller(text, codes.internal);
}
