import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import type { FileDescriptorProto } from "@bufbuild/protobuf/wkt";
import { ConnectionSchema } from "../../../gen/collector/dispatcher_pb.ts";
import {
  ListSharedRegistrationsRequestSchema,
  ListSharedRegistrationsResponseSchema,
  ReadSharedFilesRequestSchema,
  ReadSharedFilesResponseSchema,
} from "../../../gen/collector/sharing_pb.ts";
import { defaultLimits } from "../../../lib/limits.ts";
import { silentLog } from "../../../lib/log.ts";
import { systemScheduler } from "../../../lib/scheduler.ts";
import type { RegistryOptions } from "../../../registry/requests.ts";
import { openRegistry, type TestRegistry } from "../../../registry/testing/open-registry.ts";
import type { Channel } from "../../channel.ts";
import { PeerRegistrations } from "../peer-registrations.ts";
import { type PullResult, pull } from "../pull.ts";
import { RegistrationSharing } from "../registration-sharing.ts";
import { ServedRegistrations } from "../served-registrations.ts";

export const namespace = "default";

/** A collector as far as its registry goes; others pull from it when a test says so. */
export class SharingNode {
  readonly id: string;
  readonly store: TestRegistry;
  /** Services that something here runs. */
  readonly served: Set<string>;
  readonly #served: ServedRegistrations;

  private constructor(id: string, store: TestRegistry, served: Set<string>) {
    this.id = id;
    this.store = store;
    this.served = served;
    const { exchange } = store.registry;
    const connection = create(ConnectionSchema, { sharesRegistrations: [namespace] });
    const sharing = new RegistrationSharing({
      exchange,
      collectorId: id,
      namespaces: [],
      links: () => [],
      limits: defaultLimits,
      scheduler: systemScheduler,
      nowMs: () => 0,
      log: silentLog,
    });
    this.#served = new ServedRegistrations({
      exchange,
      sharing,
      link: (peerId) => ({
        id: peerId,
        peerId,
        connection,
        isUp: true,
        channel: this.channel,
        sharedByPeer: new Map(),
      }),
      // Small, so that everything comes in parts.
      partBytesMax: 50,
    });
  }

  static async open(id: string, options: Partial<RegistryOptions> = {}): Promise<SharingNode> {
    const served = new Set<string>();
    const collections = new Map<string, Map<string, string>>();
    const store = await openRegistry({
      keepsRemovals: () => true,
      usage: {
        collectionsUsing: (name, types) =>
          [...(collections.get(name) ?? [])]
            .filter(([, type]) => types.has(type))
            .map(([collection]) => collection),
        hasCollections: (name) => (collections.get(name)?.size ?? 0) > 0,
        isServed: (_namespace, service) => served.has(service),
      },
      ...options,
    });
    return new SharingNode(id, { ...store, collections }, served);
  }

  get registry(): TestRegistry["registry"] {
    return this.store.registry;
  }

  /** How others ask it, byte by byte. */
  get channel(): Channel {
    const served = this.#served;
    return {
      endpoint: this.id,
      state: "ready",
      unary: () => Promise.reject(new Error("nobody asks for one message")),
      stream: (path, messages) => {
        const answer = (async function* (): AsyncGenerator<Uint8Array, undefined> {
          for await (const bytes of messages) yield* answersTo(served, path, bytes);
        })();
        return {
          headers: Promise.resolve([]),
          messages: answer,
          end: new Promise<never>(() => undefined),
        };
      },
      [Symbol.asyncDispose]: () => Promise.resolve(),
    };
  }

  /** Takes over what is later at another one. */
  pullFrom(other: SharingNode): Promise<PullResult> {
    const peer = new PeerRegistrations({
      channel: other.channel,
      peerId: other.id,
      collectorId: this.id,
      descriptorBytesMax: defaultLimits.descriptorBytesMax,
      signal: new AbortController().signal,
    });
    const { exchange } = this.registry;
    return pull({ exchange, peer, peerId: other.id, namespace });
  }

  /** As a client of it. */
  async register(...files: readonly FileDescriptorProto[]): Promise<void> {
    const [file, ...dependencies] = files.toReversed();
    await this.registry.registerFile({ namespace, file, dependencies, validateOnly: false });
  }

  async registerService(serviceName: string): Promise<void> {
    await this.registry.registerService({
      namespace,
      serviceName,
      fileName: "",
      file: undefined,
      serviceDescriptor: undefined,
      validateOnly: false,
    });
  }

  /** What is registered, as in `file f1.proto@2` and `service s.S`. */
  list(): string[] {
    return this.registry.exchange
      .entries(namespace)
      .filter(({ isRemoved }) => !isRemoved)
      .map(({ kind, name, version }) => `${kind} ${name}${kind === "file" ? `@${version}` : ""}`);
  }

  /** Hashes of the versions of a file, the oldest first. */
  versionsOf(name: string): readonly string[] {
    const entries = this.registry.exchange.entries(namespace);
    return entries.find((entry) => entry.kind === "file" && entry.name === name)?.versions ?? [];
  }

  /** What is registered: the hash of each file, and services. */
  contents(): Map<string, string> {
    const entries = this.registry.exchange.entries(namespace).filter((entry) => !entry.isRemoved);
    return new Map(
      entries.map(({ kind, name, versions }) => [`${kind} ${name}`, versions.at(-1) ?? ""]),
    );
  }

  /** Collections of the default namespace: names and their types. */
  use(collection: string, type: string): void {
    const known = this.store.collections.get(namespace) ?? new Map<string, string>();
    this.store.collections.set(namespace, known.set(collection, type));
  }

  disuse(collection: string): void {
    this.store.collections.get(namespace)?.delete(collection);
  }
}

function* answersTo(
  served: ServedRegistrations,
  path: string,
  bytes: Uint8Array,
): Iterable<Uint8Array> {
  const via = { connectionId: "link", collectorId: "other" };
  if (path.endsWith("ListSharedRegistrations")) {
    const request = fromBinary(ListSharedRegistrationsRequestSchema, bytes);
    for (const answer of served.list(via, request.namespace)) {
      yield toBinary(ListSharedRegistrationsResponseSchema, answer);
    }
  } else {
    for (const answer of served.read(via, fromBinary(ReadSharedFilesRequestSchema, bytes))) {
      yield toBinary(ReadSharedFilesResponseSchema, answer);
    }
  }
}

/** Lets everyone pull from everyone until nothing changes any more. @returns the last results, by pair */
export async function settle(
  nodes: readonly SharingNode[],
  roundsMax = 20,
): Promise<Map<string, PullResult>> {
  const results = new Map<string, PullResult>();
  for (let round = 0; round < roundsMax; round += 1) {
    const before = nodes.map(({ registry }) => registry.exchange.digest(namespace)).join();
    let taken = 0;
    for (const node of nodes) {
      for (const other of nodes) {
        if (node === other) continue;
        const result = await node.pullFrom(other);
        results.set(`${node.id}<${other.id}`, result);
        taken += result.taken;
      }
    }
    const after = nodes.map(({ registry }) => registry.exchange.digest(namespace)).join();
    if (taken === 0 && before === after) return results;
  }
  throw new Error(`it goes on after ${roundsMax} rounds`);
}
