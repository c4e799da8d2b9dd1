import type { DescMessage, DescMethod, DescService, Registry } from "@bufbuild/protobuf";
import { CollectorError } from "../errors.ts";
import { didYouMean } from "../lib/suggest.ts";
import { type BuiltIns, methodsByName } from "./built-ins.ts";
import { quote } from "./names.ts";
import type { NamespaceState } from "./namespace-state.ts";
import { builtInVersion } from "./schema/linked-file.ts";
import type { TypeSnapshot } from "./type-snapshot.ts";
import { LayeredRegistry } from "./type-table.ts";

/** How many candidates the message about an ambiguous name lists. */
const candidatesMax = 8;

/** The types and services of a namespace, as the rest of the server sees them. */
export class NamespaceSnapshot implements TypeSnapshot {
  readonly namespace: string;
  readonly revision: bigint;
  readonly types: Registry;
  readonly #state: NamespaceState;
  readonly #builtIns: BuiltIns;
  readonly #services = new Map<string, DescService>();
  readonly #methods = new Map<string, ReadonlyMap<string, DescMethod>>();
  /** Message names by their last part; made when a short name is first asked for. */
  #bySuffix: SuffixIndex | undefined;
  #builtInBySuffix: SuffixIndex | undefined;

  /** @param disabledServices full names of built-in services that are switched off */
  constructor(state: NamespaceState, builtIns: BuiltIns, disabledServices: readonly string[]) {
    this.namespace = state.namespace;
    this.revision = state.revision;
    this.types = new LayeredRegistry(state.types, builtIns.types);
    this.#state = state;
    this.#builtIns = builtIns;
    for (const service of builtIns.services.values()) {
      if (disabledServices.includes(service.typeName)) continue;
      this.#add(service, builtIns.methods.get(service.typeName));
    }
    for (const name of state.services.keys()) {
      const service = state.types.get(name);
      if (service?.kind === "service") this.#add(service, methodsByName(service));
    }
  }

  #add(service: DescService, methods: ReadonlyMap<string, DescMethod> | undefined): void {
    this.#services.set(service.typeName, service);
    if (methods !== undefined) this.#methods.set(service.typeName, methods);
  }

  /** The registered services, by full name. */
  get services(): ReadonlyMap<string, DescService> {
    return this.#services;
  }

  message(name: string): DescMessage {
    const plain = withoutDot(name);
    const exact = this.types.getMessage(plain);
    if (exact !== undefined) return exact;
    const found = this.#messagesEnding(plain);
    const only = found[0];
    if (only === undefined) {
      const known = this.#bySuffix?.names ?? [];
      throw new CollectorError(
        "TYPE_NOT_FOUND",
        `there is no message type ${quote(plain)} in namespace ${this.namespace}${didYouMean(plain, known)}`,
        { subject: { namespace: this.namespace, type: plain.slice(0, 512) } },
      );
    }
    if (found.length > 1) throw ambiguous("message types", plain, this.namespace, found);
    const desc = this.types.getMessage(only);
    if (desc === undefined) throw new Error(`no descriptor of ${only}`);
    return desc;
  }

  typeVersion(messageName: string): bigint {
    const desc = this.#state.types.get(messageName);
    if (desc?.kind !== "message") return builtInVersion;
    return this.#state.files.get(desc.file.proto.name)?.linked.version ?? builtInVersion;
  }

  service(name: string): DescService {
    const plain = withoutDot(name);
    const exact = this.#services.get(plain);
    if (exact !== undefined) return exact;
    const found = endingWith(this.#services.keys(), plain);
    const own = found.filter((candidate) => !this.#builtIns.services.has(candidate));
    const candidates = own.length > 0 ? own : found;
    const only = candidates[0];
    const desc = only === undefined ? undefined : this.#services.get(only);
    if (desc === undefined) {
      throw new CollectorError(
        "SERVICE_NOT_FOUND",
        `there is no service ${quote(plain)} in namespace ${this.namespace}${didYouMean(plain, this.#services.keys())}`,
        { subject: { namespace: this.namespace, service: plain.slice(0, 512) } },
      );
    }
    if (candidates.length > 1) throw ambiguous("services", plain, this.namespace, candidates);
    return desc;
  }

  method(serviceName: string, methodName: string): DescMethod | undefined {
    return this.#methods.get(serviceName)?.get(methodName);
  }

  /** Messages whose name ends in `.name`: those registered here, and only if none, built-in ones. */
  #messagesEnding(name: string): readonly string[] {
    this.#bySuffix ??= new SuffixIndex(this.#state.types.values());
    const own = this.#bySuffix.find(name);
    if (own.length > 0) return own;
    this.#builtInBySuffix ??= new SuffixIndex(this.#builtIns.types.values());
    return this.#builtInBySuffix.find(name);
  }
}

/** Full names by their last part. */
class SuffixIndex {
  readonly names: readonly string[];
  readonly #byLastPart = new Map<string, string[]>();

  constructor(types: Iterable<{ readonly kind: string; readonly typeName: string }>) {
    const names: string[] = [];
    for (const { kind, typeName } of types) {
      if (kind !== "message") continue;
      names.push(typeName);
      const lastPart = typeName.slice(typeName.lastIndexOf(".") + 1);
      const list = this.#byLastPart.get(lastPart);
      if (list === undefined) this.#byLastPart.set(lastPart, [typeName]);
      else list.push(typeName);
    }
    this.names = names;
  }

  find(name: string): readonly string[] {
    const lastPart = name.slice(name.lastIndexOf(".") + 1);
    return endingWith(this.#byLastPart.get(lastPart) ?? [], name);
  }
}

function endingWith(names: Iterable<string>, name: string): string[] {
  if (name === "") return [];
  const suffix = `.${name}`;
  return [...names].filter((candidate) => candidate.endsWith(suffix)).sort();
}

function withoutDot(name: string): string {
  return name.startsWith(".") ? name.slice(1) : name;
}

function ambiguous(
  what: string,
  name: string,
  namespace: string,
  candidates: readonly string[],
): CollectorError {
  const listed = candidates.slice(0, candidatesMax).join(", ");
  const more = candidates.length > candidatesMax ? ", …" : "";
  return new CollectorError(
    "TYPE_AMBIGUOUS",
    `${quote(name)} may be one of ${candidates.length} ${what} in namespace ${namespace}: ${listed}${more}; send the full name`,
    { subject: { namespace, name } },
  );
}
