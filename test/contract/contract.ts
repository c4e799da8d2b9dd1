import { type DescEnum, type DescField, type DescFile, ScalarType } from "@bufbuild/protobuf";

/** What a set of `.proto` files promises, in the notation of `wire-contract.md`. */
export interface Contract {
  /** By name without the package; each method as `Get(GetRequest) returns (GetResponse)`, in order. */
  readonly services: Map<string, string[]>;
  /** By name without the package; fields by number. */
  readonly messages: Map<string, Map<number, string>>;
  /** By name without the package; values by number. */
  readonly enums: Map<string, Map<number, string>>;
  /** File of each service and message, by name. */
  readonly files: Map<string, string>;
  /** What each file imports. */
  readonly imports: Map<string, string[]>;
}

/** The lowest number that we may add to a message or an enum of the contract. */
export const ownNumberMin = 50;

function emptyContract(): Contract {
  return {
    services: new Map(),
    messages: new Map(),
    enums: new Map(),
    files: new Map(),
    imports: new Map(),
  };
}

/** Reads the tables of `wire-contract.md`. */
export function parseContract(markdown: string): Contract {
  const contract = emptyContract();
  let file = "";
  let methods: string[] | undefined;
  let fields: Map<number, string> | undefined;
  for (const line of markdown.split("\n")) {
    const heading = /^### (?:`collector\.(\w+)` \()?file `([\w.]+)`/.exec(line);
    if (heading !== null) {
      const [, service] = heading;
      file = heading[2] ?? "";
      fields = undefined;
      methods = undefined;
      if (service !== undefined) {
        methods = [];
        contract.services.set(service, methods);
        contract.files.set(service, file);
      }
    } else if (line.startsWith("imports: ")) {
      contract.imports.set(
        file,
        [...line.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? ""),
      );
    } else if (/^\*\*`[\w.]+`\*\*$/.test(line)) {
      const message = line.slice(3, -3);
      fields = new Map();
      contract.messages.set(message, fields);
      contract.files.set(message, file);
    } else if (line.startsWith("#")) {
      methods = undefined;
      fields = undefined;
    } else if (line.startsWith("|")) {
      const cells = line.slice(1, -1).split("|");
      const [first = "", second = "", third = "", ...rest] = cells.map((cell) =>
        cell.trim().replaceAll("`", ""),
      );
      if (/^\w+=\d+(, \w+=\d+)*$/.test(second)) {
        contract.enums.set(first, parseEnumValues(second));
      } else if (/^\d+$/.test(first) && methods !== undefined) {
        methods.push(`${second}(${third}) returns (${rest[0] ?? ""})`);
      } else if (/^\d+$/.test(first) && fields !== undefined) {
        const [label = "", oneof = "", jsonName = ""] = rest;
        fields.set(Number(first), fieldText(second, third, label, oneof, jsonName));
      }
    }
  }
  return contract;
}

function parseEnumValues(list: string): Map<number, string> {
  return new Map(
    list.split(", ").map((pair) => {
      const [name = "", number = ""] = pair.split("=");
      return [Number(number), name];
    }),
  );
}

function fieldText(
  name: string,
  type: string,
  label: string,
  oneof: string,
  jsonName: string,
): string {
  return `${name}: ${label} ${type}${oneof === "" ? "" : ` in oneof ${oneof}`}, JSON ${jsonName}`;
}

/** What compiled descriptors promise. */
export function describeFiles(files: readonly DescFile[]): Contract {
  const contract = emptyContract();
  for (const file of files) {
    const fileName = withoutFolder(`${file.name}.proto`);
    contract.imports.set(fileName, file.proto.dependency.map(withoutFolder));
    for (const service of file.services) {
      contract.files.set(service.name, fileName);
      contract.services.set(
        service.name,
        service.methods.map((method) => {
          const input = `${isClientStream(method.methodKind) ? "stream " : ""}${shortName(method.input.typeName)}`;
          const output = `${isServerStream(method.methodKind) ? "stream " : ""}${shortName(method.output.typeName)}`;
          return `${method.name}(${input}) returns (${output})`;
        }),
      );
    }
    for (const item of file.enums) addEnum(contract, item);
    const pending = [...file.messages];
    for (let message = pending.shift(); message !== undefined; message = pending.shift()) {
      contract.files.set(shortName(message.typeName), fileName);
      contract.messages.set(
        shortName(message.typeName),
        new Map(message.fields.map((field) => [field.number, describeField(field)])),
      );
      for (const item of message.nestedEnums) addEnum(contract, item);
      pending.push(...message.nestedMessages);
    }
  }
  return contract;
}

function addEnum(contract: Contract, item: DescEnum): void {
  contract.enums.set(
    shortName(item.typeName),
    new Map(item.values.map((value) => [value.number, value.name])),
  );
}

function describeField(field: DescField): string {
  return fieldText(
    field.name,
    typeText(field),
    // A proto3 `optional` has a oneof of its own in the descriptor, and none in the contract.
    field.proto.proto3Optional ? "optional" : labelText(field),
    field.oneof?.name ?? "",
    field.jsonName,
  );
}

function labelText(field: DescField): string {
  if (field.fieldKind === "list") return "repeated";
  return field.fieldKind === "map" ? "map" : "singular";
}

function typeText(field: DescField): string {
  if (field.fieldKind === "map") {
    return `map<${scalarText(field.mapKey)}, ${elementText(field)}>`;
  }
  return elementText(field);
}

/** Type of a field, of a list's items or of a map's values. */
function elementText(field: DescField): string {
  if (field.message !== undefined) return shortName(field.message.typeName);
  if (field.enum !== undefined) return `${shortName(field.enum.typeName)} (enum)`;
  return scalarText(field.scalar);
}

function scalarText(scalar: ScalarType): string {
  return ScalarType[scalar].toLowerCase();
}

function isClientStream(kind: string): boolean {
  return kind === "client_streaming" || kind === "bidi_streaming";
}

function isServerStream(kind: string): boolean {
  return kind === "server_streaming" || kind === "bidi_streaming";
}

function shortName(typeName: string): string {
  return typeName.startsWith("collector.") ? typeName.slice("collector.".length) : typeName;
}

function withoutFolder(path: string): string {
  return path.startsWith("collector/") ? path.slice("collector/".length) : path;
}

/** Every way in which `actual` breaks `contract`, a sentence each; additions that are allowed are none. */
export function findDifferences(contract: Contract, actual: Contract): string[] {
  const differences: string[] = [];
  for (const [service, methods] of contract.services) {
    const found = actual.services.get(service) ?? [];
    for (let index = 0; index < Math.max(methods.length, found.length); index++) {
      if (methods[index] !== found[index]) {
        differences.push(
          `service ${service}, method ${index + 1}: ${found[index] ?? "missing"}, expected ${methods[index] ?? "none"}`,
        );
      }
    }
  }
  compareNumbered("message", contract.messages, actual.messages, differences);
  compareNumbered("enum", contract.enums, actual.enums, differences);
  for (const [name, file] of contract.files) {
    if (actual.files.get(name) !== file) {
      differences.push(`${name} is in ${actual.files.get(name) ?? "no file"}, expected ${file}`);
    }
  }
  for (const [file, imports] of contract.imports) {
    const found = actual.imports.get(file) ?? [];
    for (const name of imports.filter((path) => !found.includes(path))) {
      differences.push(`file ${file} does not import ${name}`);
    }
  }
  return differences;
}

function compareNumbered(
  kind: string,
  expected: ReadonlyMap<string, ReadonlyMap<number, string>>,
  actual: ReadonlyMap<string, ReadonlyMap<number, string>>,
  differences: string[],
): void {
  for (const [name, members] of expected) {
    const found = actual.get(name);
    if (found === undefined) {
      differences.push(`${kind} ${name} is missing`);
      continue;
    }
    for (const [number, text] of members) {
      if (found.get(number) !== text) {
        differences.push(
          `${kind} ${name}, number ${number}: ${found.get(number) ?? "missing"}, expected ${text}`,
        );
      }
    }
    for (const [number, text] of found) {
      if (!members.has(number) && number < ownNumberMin) {
        differences.push(
          `${kind} ${name}, number ${number}: ${text} is ours, so its number is from ${ownNumberMin} up`,
        );
      }
    }
  }
}
