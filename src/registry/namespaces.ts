import { createHash } from "node:crypto";
import { clone, create, toBinary } from "@bufbuild/protobuf";
import type { SystemRecords } from "../collections/system-records.ts";
import { CollectorError, invalidField } from "../errors.ts";
import {
  CompatibilityMode,
  type Namespace,
  NamespaceSchema,
} from "../gen/collector/namespaces_pb.ts";
import { didYouMean } from "../lib/suggest.ts";
import { checkNamespaceName, quote, refuseEmpty, systemNamespace } from "./names.ts";
import { isSound, writtenAt } from "./records.ts";

export interface NamespaceTableOptions {
  readonly records: SystemRecords<Namespace>;
  readonly defaultNamespace: string;
  /** Full names of the services that a namespace may switch off. */
  readonly builtInServices: ReadonlySet<string>;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** Told when a namespace came or went. */
  readonly onNamespaces?: (() => void) | undefined;
}

/** The service that switches others on again, so it stays. */
const unswitchable = "collector.Namespaces";

const maskPaths = ["compatibility_mode", "disabled_services"] as const;

/**
 * The namespaces there are, and their settings. The default one and `system` exist always, others
 * from their first use on. Calls that write must not overlap; their owner sees to that.
 */
export class NamespaceTable {
  readonly #options: NamespaceTableOptions;
  readonly #byName = new Map<string, Namespace>();

  private constructor(options: NamespaceTableOptions) {
    this.#options = options;
  }

  static async open(options: NamespaceTableOptions): Promise<NamespaceTable> {
    const table = new NamespaceTable(options);
    for (const name of [options.defaultNamespace, systemNamespace]) {
      table.#byName.set(name, create(NamespaceSchema, { name }));
    }
    for await (const { value } of options.records.all()) table.#byName.set(value.name, value);
    return table;
  }

  has(name: string): boolean {
    return this.#byName.has(name);
  }

  names(): string[] {
    return [...this.#byName.keys()].sort();
  }

  /** @throws {CollectorError} ARGUMENT_MISSING, NAMESPACE_NOT_FOUND */
  get(name: string): Namespace {
    return answer(this.#find(name));
  }

  /** Whether new versions of files must be compatible with earlier ones. */
  isCompatible(name: string): boolean {
    return this.#byName.get(name)?.compatibilityMode !== CompatibilityMode.NONE;
  }

  disabledServices(name: string): readonly string[] {
    return this.#byName.get(name)?.disabledServices ?? [];
  }

  /** Makes a namespace exist; one that exists is left as it is. */
  async ensure(name: string): Promise<void> {
    checkNamespaceName(name);
    if (this.#byName.has(name)) return;
    await this.#put(create(NamespaceSchema, { name, metadata: this.#written(undefined) }));
  }

  /** @throws {CollectorError} NAMESPACE_EXISTS, NAME_INVALID, ARGUMENT_INVALID */
  async create(namespace: Namespace | undefined, validateOnly: boolean): Promise<Namespace> {
    const name = namespace?.name ?? "";
    checkNamespaceName(name, "namespace.name");
    if (this.#byName.has(name)) {
      throw new CollectorError("NAMESPACE_EXISTS", `there is a namespace ${name} already`, {
        subject: { namespace: name },
      });
    }
    const value = create(NamespaceSchema, {
      name,
      compatibilityMode: this.#checkMode(namespace?.compatibilityMode),
      disabledServices: this.#checkDisabled(namespace?.disabledServices ?? []),
      metadata: this.#written(undefined),
    });
    if (namespace?.metadata !== undefined && value.metadata !== undefined) {
      value.metadata.labels = { ...namespace.metadata.labels };
    }
    if (!validateOnly) await this.#put(value);
    return answer(value);
  }

  /**
   * Changes the settings that `mask` names; an empty mask changes all.
   *
   * @throws {CollectorError} NAMESPACE_NOT_FOUND, FIELD_UNKNOWN, VERSION_MISMATCH if the etag is
   * given and is not that of the namespace, SYSTEM_READ_ONLY
   */
  async update(
    namespace: Namespace | undefined,
    mask: readonly string[],
    validateOnly: boolean,
  ): Promise<Namespace> {
    const name = namespace?.name ?? "";
    const current = this.#find(name, "namespace.name");
    this.checkWritable(name);
    checkEtag(current, namespace?.etag ?? "");
    const unknown = mask.find((path) => path !== "*" && !maskPaths.some((known) => known === path));
    if (unknown !== undefined) {
      const valid = maskPaths.join(", ");
      throw invalidField(
        "FIELD_UNKNOWN",
        "update_mask",
        `${quote(unknown)} is not one of ${valid}`,
      );
    }
    const changes = (path: (typeof maskPaths)[number]) =>
      mask.length === 0 || mask.includes("*") || mask.includes(path);
    const value = clone(NamespaceSchema, current);
    if (changes("compatibility_mode")) {
      value.compatibilityMode = this.#checkMode(namespace?.compatibilityMode);
    }
    if (changes("disabled_services")) {
      value.disabledServices = this.#checkDisabled(namespace?.disabledServices ?? []);
    }
    value.metadata = this.#written(current);
    if (!validateOnly) await this.#put(value);
    return answer(value);
  }

  /**
   * Takes over settings that were archived. A namespace that is there is left as it is, unless it is empty and
   * was never set up, or `overwrite` is set.
   *
   * @throws {CollectorError} NAMESPACE_EXISTS if it is there with other settings; NAME_INVALID,
   * SYSTEM_READ_ONLY, ARGUMENT_INVALID
   */
  async restore(
    archived: Namespace,
    { overwrite, isEmpty }: { readonly overwrite: boolean; readonly isEmpty: boolean },
  ): Promise<void> {
    const { name } = archived;
    checkNamespaceName(name, "namespace.name");
    this.checkWritable(name);
    const metadata = this.#written(isSound(archived) ? archived : undefined);
    metadata.labels = { ...archived.metadata?.labels };
    const value = create(NamespaceSchema, {
      name,
      compatibilityMode: this.#checkMode(archived.compatibilityMode),
      disabledServices: this.#checkDisabled(archived.disabledServices),
      metadata,
    });
    const current = this.#byName.get(name);
    if (current !== undefined) {
      if (isSameSettings(current, value)) return;
      const isUntouched = isEmpty && isSameSettings(current, create(NamespaceSchema));
      if (!isUntouched && !overwrite) {
        throw new CollectorError(
          "NAMESPACE_EXISTS",
          `namespace ${name} is there with other settings, which stay; overwrite replaces them`,
          { subject: { namespace: name } },
        );
      }
    }
    await this.#put(value);
  }

  /**
   * The owner has made sure that nothing is left in it.
   *
   * @throws {CollectorError} NAMESPACE_NOT_FOUND, VERSION_MISMATCH, SYSTEM_READ_ONLY,
   * ARGUMENT_INVALID for the default namespace
   */
  async delete(name: string, ifMatch: string, validateOnly: boolean): Promise<void> {
    const current = this.#find(name);
    this.checkWritable(name);
    checkEtag(current, ifMatch);
    if (name === this.#options.defaultNamespace) {
      throw invalidField("ARGUMENT_INVALID", "name", "the default namespace cannot be deleted");
    }
    if (validateOnly) return;
    await this.#options.records.write([{ kind: "delete", id: name }]);
    this.#byName.delete(name);
    this.#options.onNamespaces?.();
  }

  /** @throws {CollectorError} SYSTEM_READ_ONLY */
  checkWritable(name: string): void {
    if (name !== systemNamespace) return;
    throw new CollectorError(
      "SYSTEM_READ_ONLY",
      `namespace ${systemNamespace} belongs to the server; use another`,
      { subject: { namespace: systemNamespace } },
    );
  }

  /** @param field of the request that names it */
  #find(name: string, field = "name"): Namespace {
    const found = this.#byName.get(name);
    if (found !== undefined) return found;
    refuseEmpty(name, field, "namespace");
    throw new CollectorError(
      "NAMESPACE_NOT_FOUND",
      `there is no namespace ${quote(name)}${didYouMean(name, this.#byName.keys())}`,
      { subject: { namespace: name.slice(0, 128) } },
    );
  }

  #checkMode(mode: CompatibilityMode | undefined): CompatibilityMode {
    switch (mode) {
      case undefined:
      case CompatibilityMode.UNSPECIFIED:
      case CompatibilityMode.WIRE_JSON:
        return CompatibilityMode.WIRE_JSON;
      case CompatibilityMode.NONE:
        return mode;
      default:
        throw invalidField(
          "ARGUMENT_INVALID",
          "namespace.compatibility_mode",
          `${String(mode)} is not a mode; send COMPATIBILITY_MODE_WIRE_JSON or COMPATIBILITY_MODE_NONE`,
        );
    }
  }

  #checkDisabled(names: readonly string[]): string[] {
    const known = this.#options.builtInServices;
    for (const name of names) {
      if (known.has(name) && name !== unswitchable) continue;
      const problem = known.has(name)
        ? `${name} cannot be switched off, as it switches the others on again`
        : `${quote(name)} is not a built-in service${didYouMean(name, known)}`;
      throw invalidField("ARGUMENT_INVALID", "namespace.disabled_services", problem);
    }
    return [...new Set(names)].sort();
  }

  #written(current: Namespace | undefined): ReturnType<typeof writtenAt> {
    const now = this.#options.nowMs();
    const written = writtenAt(now, now);
    if (current?.metadata?.createdAt !== undefined) written.createdAt = current.metadata.createdAt;
    if (current?.metadata !== undefined) written.labels = { ...current.metadata.labels };
    return written;
  }

  async #put(value: Namespace): Promise<void> {
    await this.#options.records.write([{ kind: "put", id: value.name, value }]);
    const isNew = !this.#byName.has(value.name);
    this.#byName.set(value.name, value);
    if (isNew) this.#options.onNamespaces?.();
  }
}

function checkEtag(current: Namespace, etag: string): void {
  if (etag === "" || etag === etagOf(current)) return;
  throw new CollectorError(
    "VERSION_MISMATCH",
    `namespace ${current.name} has changed since it had etag ${quote(etag)}; read it again`,
    { subject: { namespace: current.name } },
  );
}

function isSameSettings(one: Namespace, other: Namespace): boolean {
  const settings = ({ compatibilityMode, disabledServices, metadata }: Namespace): string => {
    const labels = metadata?.labels ?? {};
    const pairs = Object.keys(labels)
      .sort()
      .map((key) => [key, labels[key]]);
    return JSON.stringify([
      compatibilityMode === CompatibilityMode.NONE,
      [...disabledServices].sort(),
      pairs,
    ]);
  };
  return settings(one) === settings(other);
}

function answer(value: Namespace): Namespace {
  const copy = clone(NamespaceSchema, value);
  if (copy.compatibilityMode === CompatibilityMode.UNSPECIFIED) {
    copy.compatibilityMode = CompatibilityMode.WIRE_JSON;
  }
  copy.etag = etagOf(value);
  return copy;
}

function etagOf(value: Namespace): string {
  const bytes = toBinary(NamespaceSchema, value);
  return createHash("sha256").update(bytes).digest("base64url").slice(0, 22);
}
