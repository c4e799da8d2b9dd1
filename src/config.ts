import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { z } from "zod";
import { CollectorError } from "./errors.ts";
import { defaultLimits, type Limits } from "./lib/limits.ts";
import { nearest } from "./lib/suggest.ts";

/** Names a namespace or a collection. */
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/;

const logLevels = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

const limitsSchema = z.strictObject(
  Object.fromEntries(
    Object.keys(defaultLimits).map((name) => [name, z.number().int().nonnegative().optional()]),
  ),
);

const configSchema = z.strictObject({
  host: z.string().min(1),
  port: z.number().int().min(0).max(65_535),
  data: z.string().min(1),
  namespace: z.string().regex(namePattern, "1–128 of A-Z a-z 0-9 . _ -, first a letter or digit"),
  tlsCert: z.string().min(1).optional(),
  tlsKey: z.string().min(1).optional(),
  insecure: z.boolean(),
  advertise: z.string().optional(),
  collectorId: z.string().regex(namePattern).optional(),
  allowedHosts: z.array(z.string().min(1)),
  allowedOrigins: z.array(z.string().min(1)),
  peers: z.array(z.string().min(1)),
  sharedRegistrations: z.array(
    z
      .string()
      .regex(namePattern, "each 1–128 of A-Z a-z 0-9 . _ -, first a letter or digit")
      .refine((name) => name !== "system", "namespace system is the server's own and not shared"),
  ),
  backupFolder: z.string().min(1).optional(),
  backupRoots: z.array(z.string().min(1)),
  backupCompression: z.enum(["zstd", "none"]),
  backupRecipients: z.array(z.string().min(1)),
  backupIdentityFile: z.string().min(1).optional(),
  logLevel: z.enum(logLevels),
  tracing: z.boolean(),
  limits: limitsSchema,
});

type ParsedConfig = z.infer<typeof configSchema>;

/** How a server is set up. */
export interface Config {
  /** Address to listen on. */
  readonly host: string;
  /** 0 picks a free one. */
  readonly port: number;
  /** Folder of everything that lasts. */
  readonly data: string;
  /** Namespace of calls that name none. */
  readonly namespace: string;
  /** Files in PEM; both or neither. */
  readonly tlsCert?: string | undefined;
  readonly tlsKey?: string | undefined;
  /** Allows an address that other machines can reach although there is no access control. */
  readonly insecure: boolean;
  /** Address that others are told to dial, `host:port`; by default the one listened on. Empty: none. */
  readonly advertise?: string | undefined;
  /** Made at the first start if it is not set. */
  readonly collectorId?: string | undefined;
  /** Further names that HTTP requests may give as Host. */
  readonly allowedHosts: readonly string[];
  /** Web origins whose pages may call this server. */
  readonly allowedOrigins: readonly string[];
  /** Servers that may be dialled, `host:port` each; `host:*` allows any port. */
  readonly peers: readonly string[];
  /** Namespaces whose registrations are shared over every link, where the other end shares them too. */
  readonly sharedRegistrations: readonly string[];
  /** Folder of backups; by default `backups` in the data folder. */
  readonly backupFolder?: string | undefined;
  /** Further folders that backups may be written to and read from, by absolute paths. */
  readonly backupRoots: readonly string[];
  /** How archives are compressed unless the caller says. */
  readonly backupCompression: "zstd" | "none";
  /** age recipients (`age1…`) that backups are encrypted to. Empty: they are not encrypted. */
  readonly backupRecipients: readonly string[];
  /** File with age identities (`AGE-SECRET-KEY-1…`), to read encrypted backups. */
  readonly backupIdentityFile?: string | undefined;
  readonly logLevel: (typeof logLevels)[number];
  /** Starts an OpenTelemetry span per call; the process brings the SDK. */
  readonly tracing: boolean;
  readonly limits: Partial<Limits>;
}

/** Where a value of the configuration came from. */
export type ConfigOrigin = "flag" | "environment" | "file" | "default";

export interface LoadedConfig {
  readonly config: Config;
  /** The origin of every key that is set. */
  readonly origins: Readonly<Partial<Record<keyof Config, ConfigOrigin>>>;
}

export const defaultConfig: Config = {
  host: "127.0.0.1",
  port: 50_051,
  data: "./collector-data",
  namespace: "default",
  insecure: false,
  allowedHosts: [],
  allowedOrigins: [],
  peers: [],
  sharedRegistrations: [],
  backupRoots: [],
  backupCompression: "zstd",
  backupRecipients: [],
  logLevel: "info",
  tracing: false,
  limits: {},
};

/** The variable of each key that the environment may set. */
const variables: Readonly<Partial<Record<keyof Config, string>>> = {
  host: "COLLECTOR_HOST",
  port: "COLLECTOR_PORT",
  data: "COLLECTOR_DATA",
  namespace: "COLLECTOR_NAMESPACE",
  tlsCert: "COLLECTOR_TLS_CERT",
  tlsKey: "COLLECTOR_TLS_KEY",
  insecure: "COLLECTOR_INSECURE",
  advertise: "COLLECTOR_ADVERTISE",
  collectorId: "COLLECTOR_ID",
  allowedHosts: "COLLECTOR_ALLOWED_HOSTS",
  allowedOrigins: "COLLECTOR_ALLOWED_ORIGINS",
  peers: "COLLECTOR_PEERS",
  sharedRegistrations: "COLLECTOR_SHARED_REGISTRATIONS",
  backupFolder: "COLLECTOR_BACKUP_FOLDER",
  backupRoots: "COLLECTOR_BACKUP_ROOTS",
  backupCompression: "COLLECTOR_BACKUP_COMPRESSION",
  backupRecipients: "COLLECTOR_BACKUP_RECIPIENTS",
  backupIdentityFile: "COLLECTOR_BACKUP_IDENTITY_FILE",
  logLevel: "COLLECTOR_LOG_LEVEL",
  tracing: "COLLECTOR_TRACING",
};

const listKeys: ReadonlySet<string> = new Set([
  "allowedHosts",
  "allowedOrigins",
  "peers",
  "sharedRegistrations",
  "backupRoots",
  "backupRecipients",
]);
const booleanKeys: ReadonlySet<string> = new Set(["insecure", "tracing"]);

export interface ConfigSources {
  /** What the command line or the embedding program set; undefined values count as not set. */
  readonly flags: Readonly<Partial<Config>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Path of a YAML or JSON file; COLLECTOR_CONFIG is used if it is undefined. */
  readonly file: string | undefined;
}

/**
 * Puts the configuration together: flag over environment over file over default.
 *
 * @throws {CollectorError} ARGUMENT_INVALID naming the key, where it was set, and what is valid
 */
export function loadConfig(sources: ConfigSources): LoadedConfig {
  const merged: Record<string, unknown> = {};
  const origins: Partial<Record<keyof Config, ConfigOrigin>> = {};
  const layers: readonly (readonly [ConfigOrigin, Readonly<Record<string, unknown>>])[] = [
    ["default", { ...defaultConfig }],
    ["file", readFile(sources.file ?? sources.env["COLLECTOR_CONFIG"])],
    ["environment", readEnvironment(sources.env)],
    ["flag", { ...sources.flags }],
  ];
  for (const [origin, values] of layers) {
    for (const [key, value] of Object.entries(values)) {
      if (value === undefined) continue;
      merged[key] = value;
      origins[key as keyof Config] = origin;
    }
  }
  return { config: checkConfig(merged, origins), origins };
}

/**
 * A configuration that a program gives, made whole by the defaults; undefined values count as not set.
 *
 * @throws {CollectorError} ARGUMENT_INVALID naming the key and what is valid
 */
export function completeConfig(given: Readonly<Partial<Config>>): Config {
  const set = Object.entries(given).filter(([, value]) => value !== undefined);
  return checkConfig({ ...defaultConfig, ...Object.fromEntries(set) }, {});
}

function checkConfig(
  merged: Readonly<Record<string, unknown>>,
  origins: LoadedConfig["origins"],
): Config {
  const result = configSchema.safeParse(merged);
  if (!result.success) throw invalidConfig(result.error, origins);
  const config = toConfig(result.data);
  if ((config.tlsCert === undefined) !== (config.tlsKey === undefined)) {
    const [given, missing] = config.tlsCert === undefined ? ["key", "cert"] : ["cert", "key"];
    throw new CollectorError(
      "ARGUMENT_INVALID",
      `tls-${given} is set and tls-${missing} is not: TLS needs both`,
    );
  }
  return config;
}

function toConfig(parsed: ParsedConfig): Config {
  return { ...parsed, limits: parsed.limits };
}

function readEnvironment(env: ConfigSources["env"]): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  for (const [key, variable] of Object.entries(variables)) {
    const text = env[variable];
    if (text === undefined || text === "") continue;
    values[key] = fromText(key, text);
  }
  return values;
}

function fromText(key: string, text: string): unknown {
  if (key === "port") return /^\d+$/.test(text) ? Number(text) : text;
  if (booleanKeys.has(key)) {
    if (text === "1" || text === "true") return true;
    if (text === "0" || text === "false") return false;
    return text;
  }
  if (listKeys.has(key)) {
    return text
      .split(",")
      .map((item) => item.trim())
      .filter((item) => item !== "");
  }
  return text;
}

function readFile(path: string | undefined): Record<string, unknown> {
  if (path === undefined || path === "") return {};
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new CollectorError(
      "ARGUMENT_INVALID",
      `config: cannot read ${path}: ${reasonOf(error)}`,
      {
        cause: error,
      },
    );
  }
  let value: unknown;
  try {
    value = parse(text);
  } catch (error) {
    throw new CollectorError("ARGUMENT_INVALID", `config: ${path} is no YAML: ${reasonOf(error)}`, {
      cause: error,
    });
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new CollectorError("ARGUMENT_INVALID", `config: ${path} must hold keys and values`);
  }
  return { ...value };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function invalidConfig(
  error: z.ZodError,
  origins: Partial<Record<keyof Config, ConfigOrigin>>,
): CollectorError {
  const violations = error.issues.map((issue) => {
    const field = issue.path.join(".");
    if (issue.code === "unrecognized_keys") {
      const known =
        field === "limits" ? Object.keys(defaultLimits) : Object.keys(configSchema.shape);
      const names = issue.keys.map((key) => {
        const near = nearest(key, known)[0];
        return near === undefined ? `\`${key}\`` : `\`${key}\` (did you mean \`${near}\`?)`;
      });
      return { field, description: `unknown key ${names.join(", ")}` };
    }
    const origin = origins[issue.path[0] as keyof Config];
    const from = origin === undefined ? "" : ` (from ${origin})`;
    return { field, description: `${issue.message}${from}` };
  });
  const text = violations.map((v) =>
    v.field === "" ? v.description : `${v.field}: ${v.description}`,
  );
  return new CollectorError("ARGUMENT_INVALID", `config: ${text.join("; ")}`, { violations });
}
