import { type DescField, type DescMessage, type DescMethod, ScalarType } from "@bufbuild/protobuf";

/** A line of a difference: `+` what is new, `-` what is gone, `~` what is other than it was. */
export interface SchemaChange {
  readonly sign: "+" | "-" | "~";
  /** Full name of what it is about. */
  readonly name: string;
  readonly what: string;
}

/** Types and services by full name. */
export interface SchemaPart {
  readonly messages: ReadonlyMap<string, DescMessage>;
  readonly enums: ReadonlyMap<string, ReadonlyMap<number, string>>;
  readonly services: ReadonlyMap<string, readonly DescMethod[]>;
}

/** What `now` has other than `before`; fields and values are matched by number, methods by name. */
export function diffSchemas(before: SchemaPart, now: SchemaPart): readonly SchemaChange[] {
  const changes: SchemaChange[] = [];
  compare(before.messages, now.messages, "message", changes, (name, old, fresh) => {
    const numbered = (message: DescMessage): Map<number, DescField> =>
      new Map(message.fields.map((field) => [field.number, field]));
    compareEach(numbered(old), numbered(fresh), changes, {
      nameOf: (field) => `${name}.${field.name}`,
      textOf: (field) => `${field.number}: ${typeOf(field)}`,
    });
  });
  compare(before.enums, now.enums, "enum", changes, (name, old, fresh) => {
    const entries = (values: ReadonlyMap<number, string>): Map<number, readonly [number, string]> =>
      new Map([...values].map(([number, value]) => [number, [number, value]]));
    compareEach(entries(old), entries(fresh), changes, {
      nameOf: ([, value]) => `${name}.${value}`,
      textOf: ([number]) => String(number),
    });
  });
  compare(before.services, now.services, "service", changes, (name, old, fresh) => {
    const named = (methods: readonly DescMethod[]): Map<string, DescMethod> =>
      new Map(methods.map((method) => [method.name, method]));
    compareEach(named(old), named(fresh), changes, {
      nameOf: (method) => `${name}/${method.name}`,
      textOf: signatureOf,
    });
  });
  return changes;
}

function compare<T>(
  before: ReadonlyMap<string, T>,
  now: ReadonlyMap<string, T>,
  what: string,
  changes: SchemaChange[],
  compareSame: (name: string, old: T, fresh: T) => void,
): void {
  for (const [name, fresh] of now) {
    const old = before.get(name);
    if (old === undefined) changes.push({ sign: "+", name, what });
    else compareSame(name, old, fresh);
  }
  for (const name of before.keys()) if (!now.has(name)) changes.push({ sign: "-", name, what });
}

function compareEach<K, T>(
  before: ReadonlyMap<K, T>,
  now: ReadonlyMap<K, T>,
  changes: SchemaChange[],
  {
    nameOf,
    textOf,
  }: { readonly nameOf: (item: T) => string; readonly textOf: (item: T) => string },
): void {
  for (const [key, fresh] of now) {
    const old = before.get(key);
    const what = textOf(fresh);
    if (old === undefined) changes.push({ sign: "+", name: nameOf(fresh), what });
    else if (nameOf(old) !== nameOf(fresh)) {
      changes.push({ sign: "~", name: nameOf(fresh), what: `${what}, was called ${nameOf(old)}` });
    } else if (textOf(old) !== what) {
      changes.push({ sign: "~", name: nameOf(fresh), what: `${what}, was ${textOf(old)}` });
    }
  }
  for (const [key, old] of before) {
    if (!now.has(key)) changes.push({ sign: "-", name: nameOf(old), what: textOf(old) });
  }
}

/** The type of a field as a `.proto` file writes it. */
export function typeOf(field: DescField): string {
  if (field.fieldKind === "map") {
    const value =
      field.mapKind === "scalar"
        ? scalarName(field.scalar)
        : (field.message ?? field.enum).typeName;
    return `map<${scalarName(field.mapKey)}, ${value}>`;
  }
  const repeated = field.fieldKind === "list" ? "repeated " : "";
  if (field.message !== undefined) return repeated + field.message.typeName;
  if (field.enum !== undefined) return repeated + field.enum.typeName;
  return repeated + scalarName(field.scalar);
}

/** What a method takes and answers, as a `.proto` file writes it. */
function signatureOf({ input, output, proto }: DescMethod): string {
  const stream = (streams: boolean): string => (streams ? "stream " : "");
  return `(${stream(proto.clientStreaming)}${input.typeName}) returns (${stream(proto.serverStreaming)}${output.typeName})`;
}

function scalarName(type: ScalarType): string {
  return ScalarType[type].toLowerCase();
}
