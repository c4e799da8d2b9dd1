import type { DescMessage, DescMethod, DescService, Registry } from "@bufbuild/protobuf";

/**
 * The types and services of one namespace at one moment. Immutable: a registration replaces the
 * whole snapshot, so one that a call holds never changes under it. Lookups cost no I/O.
 */
export interface TypeSnapshot {
  readonly namespace: string;
  /** Grows with every change of this namespace's types and services. */
  readonly revision: bigint;
  /** Every registered type, the well-known types and package `collector`: resolves Any in JSON. */
  readonly types: Registry;

  /**
   * A registered message, by full name, by full name with a leading dot, or by an unambiguous
   * suffix such as `Product` for `shop.v1.Product`.
   *
   * @throws {CollectorError} TYPE_NOT_FOUND with the nearest names, TYPE_AMBIGUOUS with the candidates
   */
  message(name: string): DescMessage;

  /** Version of the file that defines a message; 0 for built-in types. */
  typeVersion(messageName: string): bigint;

  /** A registered service, under the same rules for names. @throws {CollectorError} SERVICE_NOT_FOUND, TYPE_AMBIGUOUS */
  service(name: string): DescService;

  /** The method of a registered service by full names, or undefined. Asked for every call: one map lookup. */
  method(serviceName: string, methodName: string): DescMethod | undefined;
}

/** What the registry lends to the rest of the server. */
export interface TypeSource {
  /** The snapshot in force. An unknown namespace has the built-in types and services only. */
  snapshot(namespace: string): TypeSnapshot;
}
