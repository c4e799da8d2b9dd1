import {
  createRegistry,
  type DescMessage,
  type DescService,
  type Registry,
} from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import type { TypeSnapshot, TypeSource } from "../../registry/type-snapshot.ts";

/** Types that a test sets, without a registry. */
export class GivenTypes implements TypeSource {
  readonly #snapshots = new Map<string, GivenSnapshot>();
  #revision = 0n;

  /** @param version of every type's file */
  set(namespace: string, types: Registry, version = 1n): void {
    this.#revision += 1n;
    this.#snapshots.set(namespace, new GivenSnapshot(namespace, this.#revision, types, version));
  }

  snapshot(namespace: string): TypeSnapshot {
    let snapshot = this.#snapshots.get(namespace);
    if (snapshot === undefined) {
      snapshot = new GivenSnapshot(namespace, 0n, createRegistry(), 0n);
      this.#snapshots.set(namespace, snapshot);
    }
    return snapshot;
  }
}

class GivenSnapshot implements TypeSnapshot {
  readonly namespace: string;
  readonly revision: bigint;
  readonly types: Registry;
  readonly #version: bigint;

  constructor(namespace: string, revision: bigint, types: Registry, version: bigint) {
    this.namespace = namespace;
    this.revision = revision;
    this.types = types;
    this.#version = version;
  }

  message(name: string): DescMessage {
    const desc = this.types.getMessage(name);
    if (desc !== undefined) return desc;
    throw new CollectorError("TYPE_NOT_FOUND", `there is no message type ${name}`);
  }

  typeVersion(name: string): bigint {
    return name.startsWith("google.protobuf.") ? 0n : this.#version;
  }

  service(name: string): DescService {
    throw new CollectorError("SERVICE_NOT_FOUND", `there is no service ${name}`);
  }

  method(): undefined {
    return undefined;
  }
}
