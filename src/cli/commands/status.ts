import type { CliEnvironment, CommandContext } from "../context.ts";
import type { DefineCommands } from "../define-commands.ts";
import { asObject, textOf, textsOf } from "../json-values.ts";
import { originOf, QuickCaller } from "../quick-call.ts";

/** What a server says of itself. */
interface Status {
  readonly url: string;
  /** Empty: the server's default. */
  readonly namespace: string;
  readonly version: string;
  readonly collectorId: string;
  readonly defaultNamespace: string;
  readonly roundTripMs: number;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, string>>;
}

/** `collector status` */
export const define: DefineCommands = (command, context, environment) => {
  command.action(async () => {
    const given = context(command);
    const status = (await askQuickly(given, environment)) ?? (await askByClient(given));
    const { url, version, collectorId, defaultNamespace, roundTripMs, limits } = status;
    const features = [...status.features];
    given.output.facts(
      [
        ["Server", url],
        ["Version", version],
        ["Id", collectorId],
        ["Namespace", status.namespace === "" ? defaultNamespace : status.namespace],
        ["Answered in", `${roundTripMs.toFixed(1)} ms`],
        ["Features", features.join(", ")],
      ],
      {
        url,
        version,
        collectorId,
        defaultNamespace,
        roundTripMs,
        features,
        limits: { ...limits },
      },
    );
  });
};

/** The first call connects; the second one tells how fast the server answers. */
async function timed<T>(call: () => Promise<T>): Promise<{ answer: T; roundTripMs: number }> {
  await call();
  const startMs = performance.now();
  const answer = await call();
  return { answer, roundTripMs: performance.now() - startMs };
}

async function askByClient({ connect, signal }: CommandContext): Promise<Status> {
  await using client = await connect();
  const { answer, roundTripMs } = await timed(() => client.services.records.meta({}, { signal }));
  const { serverVersion: version, collectorId, defaultNamespace, features, limits } = answer;
  return {
    url: client.url,
    namespace: client.namespace,
    version,
    collectorId,
    defaultNamespace,
    roundTripMs,
    features,
    limits: Object.fromEntries(
      Object.entries(limits).map(([name, value]) => [name, String(value)]),
    ),
  };
}

/** The same without the client; undefined if that is what it takes to say what is wrong. */
async function askQuickly(
  { target, signal, timeoutMs }: CommandContext,
  { env }: CliEnvironment,
): Promise<Status | undefined> {
  const { url, namespace } = await target();
  const origin = originOf(url.value);
  if (origin === undefined) return undefined;
  using caller = new QuickCaller({
    url: origin,
    namespace: namespace.value,
    token: env["COLLECTOR_TOKEN"],
    timeoutMs,
    signal,
  });
  const { answer, roundTripMs } = await timed(() =>
    caller.call("/collector.CollectionService/Meta", {}),
  );
  const meta = asObject(answer);
  const { serverVersion: version, collectorId, defaultNamespace, features } = meta;
  if (typeof version !== "string" || typeof collectorId !== "string") return undefined;
  return {
    url: origin,
    namespace: namespace.value ?? "",
    version,
    collectorId,
    defaultNamespace: textOf(defaultNamespace),
    roundTripMs,
    features: textsOf(features),
    limits: Object.fromEntries(
      Object.entries(asObject(meta["limits"])).map(([name, value]) => [name, textOf(value)]),
    ),
  };
}
