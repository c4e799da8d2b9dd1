import type { Message } from "@bufbuild/protobuf";

/** One record of a system collection. */
export interface SystemRecord<M extends Message> {
  readonly id: string;
  readonly value: M;
}

/** One step of a write to a system collection. */
export type SystemChange<M extends Message> =
  | { readonly kind: "put"; readonly id: string; readonly value: M }
  | { readonly kind: "delete"; readonly id: string };

/**
 * A collection of namespace `system` as its owner in this process sees it: typed, and writable.
 * Callers from outside read the same records through CollectionService.
 */
export interface SystemRecords<M extends Message> {
  /** Every record, in order of creation. Meant for start-up. */
  all(): AsyncIterable<SystemRecord<M>>;
  get(id: string): Promise<M | undefined>;
  /** Applies all changes or none, durably. A put creates or replaces; deleting nothing is no error. */
  write(changes: readonly SystemChange<M>[]): Promise<void>;
}
