import type { DescService } from "@bufbuild/protobuf";
import { runHandlers } from "./run-handlers.ts";
import { type AttachOptions, Worker, type WorkerParts } from "./worker.ts";
import type { WorkerHandlers } from "./worker-handlers.ts";

/** Attaches a worker that runs a service by handlers. @throws {ClientError} as {@link Worker.attach} */
export async function attachService<S extends DescService>(
  service: S,
  handlers: WorkerHandlers<S>,
  parts: Pick<WorkerParts, "hosts" | "messageBytesMax">,
  options: AttachOptions,
): Promise<Worker> {
  const handler = runHandlers(service, handlers);
  return await Worker.attach({ ...parts, services: [service.typeName], handler }, options);
}
