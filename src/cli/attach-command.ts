import { once } from "node:events";
import type { Client } from "../client/client.ts";
import { commandHandlers } from "./exec-worker.ts";
import { exitCodes } from "./exit-codes.ts";
import { CliError } from "./failure.ts";
import type { Output } from "./output.ts";

export interface AttachedCommand {
  readonly serviceName: string;
  readonly command: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly callsMax: number;
}

/**
 * Runs calls of a service by a command here, until the signal fires; calls that run then may end.
 *
 * @throws {CliError} SERVICE_NOT_FOUND
 * @throws {ClientError} what keeps it from being attached
 */
export async function attachCommand(
  client: Client,
  { serviceName, command, labels, callsMax }: AttachedCommand,
  output: Output,
  signal: AbortSignal,
): Promise<void> {
  const service = await client.symbol(serviceName);
  if (service.kind !== "service") {
    throw new CliError(
      "SERVICE_NOT_FOUND",
      `${service.typeName} is no service but a ${service.kind}`,
      {
        exitCode: exitCodes.notFound,
        hint: "`collector service list` shows the services there are",
      },
    );
  }
  const handlers = commandHandlers(client, service, command);
  let isAttached = false;
  await using worker = await client.attach(service, handlers, {
    labels,
    callsMax,
    onError: (error) => output.note(error instanceof Error ? error.message : String(error)),
    onState: (state, problem) => {
      if (state === "reconnecting") output.note(`the server was lost: ${problem?.message ?? ""}`);
      if (state === "attached" && isAttached) output.note("attached again");
      isAttached ||= state === "attached";
    },
  });
  const { executorId } = worker;
  output.result(`attached ${executorId} to ${service.typeName}`, {
    id: executorId,
    service: service.typeName,
  });
  output.note("runs its calls until Ctrl-C");
  if (!signal.aborted) await Promise.race([once(signal, "abort"), worker.ended]);
}
