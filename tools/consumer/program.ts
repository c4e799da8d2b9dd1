// What a stranger writes against the packed package; `tools/try-package.ts` type-checks it and runs it.
import {
  type Call,
  type Collector,
  type CollectorOptions,
  createCollector,
  type ServiceHandlers,
} from "collector";
import {
  type Client,
  ClientError,
  type ClientErrorReason,
  connect,
  type JsonCollection,
  type TypedCollection,
  type Worker,
  type WorkerCall,
  type WorkerHandlers,
} from "collector/client";
import { CollectorError } from "collector/errors";
import { NamespaceSchema } from "collector/gen/collector/namespaces_pb";
import { Health, HealthCheckResponse_ServingStatus } from "collector/gen/grpc/health/v1/health_pb";

const { NOT_SERVING, SERVING } = HealthCheckResponse_ServingStatus;

export const handlers: ServiceHandlers<typeof Health> = {
  check: async (_request, call: Call) => ({
    status: call.namespace === "" ? NOT_SERVING : SERVING,
  }),
  list: async () => ({}),
  async *watch() {
    yield { status: SERVING };
  },
};

export const workerHandlers: WorkerHandlers<typeof Health> = {
  check: async (_request, call: WorkerCall) => ({
    status: call.signal.aborted ? NOT_SERVING : SERVING,
  }),
  list: async () => ({}),
  async *watch() {
    yield { status: SERVING };
  },
};

export async function work(client: Client): Promise<Worker> {
  return await client.attach(Health, workerHandlers);
}

export function reasonOf(error: unknown): ClientErrorReason | undefined {
  if (error instanceof CollectorError) return error.reason;
  return error instanceof ClientError ? error.reason : undefined;
}

const options: CollectorOptions = { port: 0, logLevel: "silent", data: process.argv[2] ?? "data" };
const collector: Collector = await createCollector(options);
const client = await connect({ url: collector.url });
await client.services.repo.createCollection({
  collection: { name: "spaces", messageType: { messageName: NamespaceSchema.typeName } },
});
const spaces: TypedCollection<typeof NamespaceSchema> = client.collection(
  "spaces",
  NamespaceSchema,
);
await spaces.put("a", { name: "a" });
const json: JsonCollection = client.collection("spaces");
const { item } = await json.get("a");
const missing = await spaces.get("b").catch(reasonOf);
console.log(`${String(item["name"])} ${typeof missing === "string" ? missing : "found"}`);
await client[Symbol.asyncDispose]();
await collector.close();
