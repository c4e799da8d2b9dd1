import { create, toBinary } from "@bufbuild/protobuf";
import { CollectorError, invalidField } from "../../errors.ts";
import {
  type ListSharedRegistrationsResponse,
  ListSharedRegistrationsResponseSchema,
  type ReadSharedFilesRequest,
  type ReadSharedFilesResponse,
  ReadSharedFilesResponseSchema,
  type SharedRegistration,
  SharedRegistrationSchema,
} from "../../gen/collector/sharing_pb.ts";
import type { RegistryExchange } from "../../registry/exchange.ts";
import type { Via } from "../links/link-calls.ts";
import type { RegistrationSharing, SharingLink } from "./registration-sharing.ts";
import { writeEntry } from "./wire.ts";

/** Versions that one request may name. */
const versionsMax = 1000;

export interface ServedRegistrationsOptions {
  readonly exchange: RegistryExchange;
  readonly sharing: RegistrationSharing;
  readonly link: (connectionId: string) => SharingLink | undefined;
  /** What one message holds, about. */
  readonly partBytesMax: number;
}

/** What linked collectors are told of the registrations here, where they are shared over their link. */
export class ServedRegistrations {
  readonly #options: ServedRegistrationsOptions;

  constructor(options: ServedRegistrationsOptions) {
    this.#options = options;
  }

  /** @throws {CollectorError} PERMISSION_DENIED */
  *list(via: Via | undefined, namespace: string): Iterable<ListSharedRegistrationsResponse> {
    this.#check(via, namespace);
    const { exchange, partBytesMax } = this.#options;
    let registrations: SharedRegistration[] = [];
    let bytes = 0;
    for (const entry of exchange.entries(namespace)) {
      const written = writeEntry(entry);
      const size = toBinary(SharedRegistrationSchema, written).byteLength;
      if (bytes + size > partBytesMax && registrations.length > 0) {
        yield create(ListSharedRegistrationsResponseSchema, { registrations });
        [registrations, bytes] = [[], 0];
      }
      registrations.push(written);
      bytes += size;
    }
    yield create(ListSharedRegistrationsResponseSchema, { registrations });
  }

  /** @throws {CollectorError} PERMISSION_DENIED, ARGUMENT_INVALID */
  *read(
    via: Via | undefined,
    { namespace, versions }: ReadSharedFilesRequest,
  ): Iterable<ReadSharedFilesResponse> {
    this.#check(via, namespace);
    if (versions.length > versionsMax) {
      const text = `are ${versions.length}, the limit is ${versionsMax}`;
      throw invalidField("ARGUMENT_INVALID", "versions", text);
    }
    const { exchange, partBytesMax } = this.#options;
    for (const [index, { name, hash }] of versions.entries()) {
      const found = exchange.version(namespace, name, Buffer.from(hash).toString("hex"));
      if (found === undefined) continue;
      const { source, origin: originCollectorId } = found;
      for (let at = 0; at < source.byteLength; at += partBytesMax) {
        const part = source.subarray(at, at + partBytesMax);
        const isLast = at + partBytesMax >= source.byteLength;
        yield create(ReadSharedFilesResponseSchema, { index, part, isLast, originCollectorId });
      }
    }
  }

  #check(via: Via | undefined, namespace: string): void {
    const { link, sharing } = this.#options;
    const asking = via === undefined ? undefined : link(via.connectionId);
    if (asking !== undefined && sharing.isOffered(asking.connection, namespace)) return;
    const text =
      asking === undefined
        ? "only linked collectors are told; use TypeRegistry and CollectorRegistry"
        : `registrations of namespace ${namespace} are not shared over this link`;
    throw new CollectorError("PERMISSION_DENIED", text, { subject: { namespace } });
  }
}
