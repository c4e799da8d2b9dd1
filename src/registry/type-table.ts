import type {
  DescEnum,
  DescExtension,
  DescFile,
  DescMessage,
  DescService,
  Registry,
} from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";
import { ForkableMap } from "./forkable-map.ts";

export type AnyDesc = DescMessage | DescEnum | DescExtension | DescService;

/** Types by name, and extensions by what they extend. A copy costs next to nothing. */
export class TypeTable {
  readonly #types: ForkableMap<string, AnyDesc>;
  readonly #extensions: ForkableMap<string, DescExtension>;

  constructor(from?: TypeTable) {
    this.#types = from === undefined ? ForkableMap.empty() : from.#types.fork();
    this.#extensions = from === undefined ? ForkableMap.empty() : from.#extensions.fork();
  }

  add(file: DescFile): void {
    for (const desc of nestedTypes(file)) {
      this.#types.set(desc.typeName, desc);
      if (desc.kind === "extension") {
        this.#extensions.set(extensionKey(desc.extendee.typeName, desc.number), desc);
      }
    }
  }

  /** Takes out what `file` defines, unless another file has defined it since. */
  remove(file: DescFile): void {
    for (const desc of nestedTypes(file)) {
      if (this.#types.get(desc.typeName) === desc) this.#types.delete(desc.typeName);
      if (desc.kind !== "extension") continue;
      const key = extensionKey(desc.extendee.typeName, desc.number);
      if (this.#extensions.get(key) === desc) this.#extensions.delete(key);
    }
  }

  dropServices(unwanted: (service: DescService) => boolean): void {
    for (const [name, desc] of this.#types) {
      if (desc.kind === "service" && unwanted(desc)) this.#types.delete(name);
    }
  }

  get(name: string): AnyDesc | undefined {
    return this.#types.get(name);
  }

  extension(extendee: string, number: number): DescExtension | undefined {
    return this.#extensions.get(extensionKey(extendee, number));
  }

  values(): Iterable<AnyDesc> {
    return this.#types.values();
  }
}

function extensionKey(extendee: string, number: number): string {
  return `${extendee}:${number}`;
}

/** Looks in the tables in order: a type of the first hides one of the second. */
export class LayeredRegistry implements Registry {
  readonly kind = "registry";
  readonly #own: TypeTable;
  readonly #builtIn: TypeTable;

  constructor(own: TypeTable, builtIn: TypeTable) {
    this.#own = own;
    this.#builtIn = builtIn;
  }

  *[Symbol.iterator](): IterableIterator<AnyDesc> {
    yield* this.#own.values();
    for (const desc of this.#builtIn.values()) {
      if (this.#own.get(desc.typeName) === undefined) yield desc;
    }
  }

  get(typeName: string): AnyDesc | undefined {
    return this.#own.get(typeName) ?? this.#builtIn.get(typeName);
  }

  getMessage(typeName: string): DescMessage | undefined {
    const desc = this.get(typeName);
    return desc?.kind === "message" ? desc : undefined;
  }

  getEnum(typeName: string): DescEnum | undefined {
    const desc = this.get(typeName);
    return desc?.kind === "enum" ? desc : undefined;
  }

  getExtension(typeName: string): DescExtension | undefined {
    const desc = this.get(typeName);
    return desc?.kind === "extension" ? desc : undefined;
  }

  getExtensionFor(extendee: DescMessage, number: number): DescExtension | undefined {
    return (
      this.#own.extension(extendee.typeName, number) ??
      this.#builtIn.extension(extendee.typeName, number)
    );
  }

  getService(typeName: string): DescService | undefined {
    const desc = this.get(typeName);
    return desc?.kind === "service" ? desc : undefined;
  }
}
