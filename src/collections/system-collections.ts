import {
  createRegistry,
  type DescMessage,
  fromBinary,
  type MessageShape,
  type Registry,
  toBinary,
} from "@bufbuild/protobuf";
import { file_collector_backups } from "../gen/collector/backups_pb.ts";
import { file_collector_collection_admin } from "../gen/collector/collection_admin_pb.ts";
import { file_collector_collection_repo } from "../gen/collector/collection_repo_pb.ts";
import { file_collector_collection_server } from "../gen/collector/collection_server_pb.ts";
import { file_collector_dispatcher } from "../gen/collector/dispatcher_pb.ts";
import { file_collector_namespaces } from "../gen/collector/namespaces_pb.ts";
import { file_collector_operations } from "../gen/collector/operations_pb.ts";
import { file_collector_type_registry } from "../gen/collector/type_registry_pb.ts";
import type { Limits } from "../lib/limits.ts";
import type {
  RecordStore,
  StorageEngine,
  StoreLocation,
  WriteStep,
} from "../storage/record-store.ts";
import type { StoreLayout } from "../storage/store-layout.ts";
import { DerivePlan } from "./derive/derive-plan.ts";
import type { SystemChange, SystemRecord, SystemRecords } from "./system-records.ts";

/** Starts the id of every store that belongs to a collection of namespace `system`. */
export const systemStorePrefix = "system-";

/** Records that a start reads at once. */
const pageRecordsMax = 1000;

/** Resolves what an Any in a system record holds. */
const contractTypes: Registry = createRegistry(
  file_collector_backups,
  file_collector_collection_admin,
  file_collector_collection_repo,
  file_collector_collection_server,
  file_collector_dispatcher,
  file_collector_namespaces,
  file_collector_operations,
  file_collector_type_registry,
);

/** How every collection of namespace `system` is laid out. */
const systemLayout: StoreLayout = {
  durability: "full",
  text: { tokenizer: "words", fields: [{ name: "", weight: 1 }] },
  vectors: [],
  indexes: [],
};

/** Where a collection of namespace `system` is: the same in every data folder. */
export function systemLocation(name: string): StoreLocation {
  return { storeId: systemStorePrefix + name, generation: 1n };
}

/**
 * Opens a collection of namespace `system` for its owner in this process, making it if it is not
 * there. Its records are what callers read through the collection of that name.
 *
 * @param name lower-case letters, digits and dashes.
 * @param limits what shapes the records' text.
 */
export async function openSystemRecords<D extends DescMessage>(
  engine: StorageEngine,
  schema: D,
  name: string,
  limits: Pick<Limits, "recordTextCharsMax">,
): Promise<SystemRecords<MessageShape<D>>> {
  const location = systemLocation(name);
  if (!(await engine.exists(location))) await engine.create(location, systemLayout);
  return new StoredSystemRecords(engine.store(location), schema, limits);
}

class StoredSystemRecords<D extends DescMessage> implements SystemRecords<MessageShape<D>> {
  readonly #store: RecordStore;
  readonly #schema: D;
  readonly #limits: Pick<Limits, "recordTextCharsMax">;
  /** The shape of a system store stays as it was made. */
  #plan: DerivePlan | undefined;

  constructor(store: RecordStore, schema: D, limits: Pick<Limits, "recordTextCharsMax">) {
    this.#store = store;
    this.#schema = schema;
    this.#limits = limits;
  }

  async *all(): AsyncIterable<SystemRecord<MessageShape<D>>> {
    let after: string | undefined;
    do {
      const page = await this.#store.list({ limit: pageRecordsMax, after });
      for (const { id, data } of page.records) {
        yield { id, value: fromBinary(this.#schema, data) };
      }
      after = page.next;
    } while (after !== undefined);
  }

  async get(id: string): Promise<MessageShape<D> | undefined> {
    const [record] = await this.#store.get([id]);
    return record === undefined ? undefined : fromBinary(this.#schema, record.data);
  }

  async write(changes: readonly SystemChange<MessageShape<D>>[]): Promise<void> {
    if (changes.length === 0) return;
    this.#plan ??= new DerivePlan({
      desc: this.#schema,
      types: contractTypes,
      shape: await this.#store.shape(),
      limits: this.#limits,
    });
    const plan = this.#plan;
    await this.#store.write({ steps: changes.map((change) => this.#step(change, plan)) });
  }

  #step(change: SystemChange<MessageShape<D>>, plan: DerivePlan): WriteStep {
    const { id } = change;
    if (change.kind === "delete") return { kind: "delete", id, allowMissing: true };
    const content = plan.derive(toBinary(this.#schema, change.value), { writtenUs: 0n });
    return { kind: "update", id, content, labels: undefined, allowMissing: true };
  }
}
