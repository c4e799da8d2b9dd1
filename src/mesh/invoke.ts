import { create, type DescMethod } from "@bufbuild/protobuf";
import { type Any, AnySchema } from "@bufbuild/protobuf/wkt";
import type { RecordCollection } from "../collections/record-collection.ts";
import { invalidField } from "../errors.ts";
import type { InvokeRequest } from "../gen/collector/collection_server_pb.ts";
import type { Limits } from "../lib/limits.ts";
import { quote } from "../registry/names.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import {
  checkServable,
  findMethod,
  type MethodAnswer,
  type MethodCall,
  packOutput,
} from "./dispatch/typed-method.ts";
import { itemRequests, type MakeItemRequest } from "./item-request.ts";

export interface InvokeOptions {
  readonly types: TypeSource;
  readonly collection: RecordCollection;
  /** Runs the method once. */
  readonly run: (call: MethodCall) => Promise<MethodAnswer>;
  readonly limits: Pick<Limits, "batchOperationsMax">;
  readonly signal: AbortSignal;
}

/** What became of one record. */
export interface ItemOutcome {
  /** An empty Any if it failed. */
  readonly output: Any;
  /** What it failed with; undefined if it did not. */
  readonly error: unknown;
}

/** Records that a method is run over at the same time. */
const inFlightMax = 8;

/**
 * Runs a method once for each record that is named. They begin in the order of the request, a few at a
 * time, and one that fails does not keep the others.
 *
 * @returns one outcome for each id, in their order
 * @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID, METHOD_NOT_REGISTERED, TYPE_AMBIGUOUS:
 * nothing was run then
 */
export async function invokeMethod(
  request: InvokeRequest,
  options: InvokeOptions,
): Promise<ItemOutcome[]> {
  const { itemIds, input, namespace } = request;
  const { types, collection, limits } = options;
  if (itemIds.length > limits.batchOperationsMax) {
    throw invalidField(
      "ARGUMENT_INVALID",
      "item_ids",
      `has ${itemIds.length} ids, the limit is ${limits.batchOperationsMax} (batchOperationsMax)`,
    );
  }
  const [serviceName, methodName] = splitName(request.methodName);
  const desc = findMethod(types, namespace, serviceName, methodName);
  checkServable(desc);
  const itemType = collection.definition.messageType?.messageName ?? "";
  const toRequest = itemRequests(desc, itemType, input);
  const outcomes: ItemOutcome[] = [];
  let next = 0;
  const work = async (): Promise<void> => {
    while (next < itemIds.length) {
      const at = next;
      next += 1;
      outcomes[at] = await runOne(itemIds[at] ?? "", desc, namespace, toRequest, options);
    }
  };
  await Promise.all(Array.from({ length: Math.min(inFlightMax, itemIds.length) }, work));
  return outcomes;
}

/** Never rejects, unless the caller is gone. */
async function runOne(
  id: string,
  desc: DescMethod,
  namespace: string,
  toRequest: MakeItemRequest,
  { collection, run, signal }: InvokeOptions,
): Promise<ItemOutcome> {
  signal.throwIfAborted();
  try {
    const { item } = await collection.get(id);
    const { output } = await run({ namespace, desc, ...toRequest(id, item) });
    return { output: packOutput({ desc }, output), error: undefined };
  } catch (error) {
    return { output: create(AnySchema), error };
  }
}

/** @throws {CollectorError} ARGUMENT_MISSING, ARGUMENT_INVALID */
function splitName(name: string): [serviceName: string, methodName: string] {
  if (name === "") throw invalidField("ARGUMENT_MISSING", "method_name", "names no method");
  const slash = name.lastIndexOf("/");
  const [service, method] = [
    name.slice(name.startsWith("/") ? 1 : 0, slash),
    name.slice(slash + 1),
  ];
  if (slash > 0 && service !== "" && method !== "") return [service, method];
  throw invalidField(
    "ARGUMENT_INVALID",
    "method_name",
    `${quote(name)} is no method; write it as in shop.v1.Shop/Quote`,
  );
}
