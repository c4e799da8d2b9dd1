import type { Command } from "commander";
import { localUrl } from "../../client/default-url.ts";
import { type LoadedConfig, loadConfig } from "../../config.ts";
import type { CliEnvironment } from "../context.ts";
import { readContexts, writeContexts } from "../contexts.ts";
import { contextsPath } from "../contexts-path.ts";
import type { DefineCommands } from "../define-commands.ts";
import { exitCodes } from "../exit-codes.ts";
import { CliError, usageError } from "../failure.ts";
import { configFileIn, type Sourced, unknownContext } from "../target.ts";

interface ShowOptions {
  readonly origin?: boolean;
  readonly config?: string;
}

/** A setting as it is shown. */
interface Setting {
  readonly key: string;
  readonly value: string;
  readonly origin: string;
}

/** `collector config …` */
export const define: DefineCommands = (command, context, environment) => {
  command
    .command("show")
    .description(
      "show the settings: what a server started here would have, and whom commands talk to",
    )
    .option("--origin", "say where each setting comes from")
    .option("--config <file>", "the file of the server's settings (COLLECTOR_CONFIG)")
    .action(async (options: ShowOptions, self: Command) => {
      const { output, target } = context(self);
      const { url, namespace } = await target();
      const settings = [
        clientSetting("url", url, localUrl),
        clientSetting("namespace", namespace, "the server's default"),
        ...serverSettings(load(options.config, environment)),
      ];
      output.list(
        settings,
        [
          { header: "NAME", text: ({ key }) => key },
          { header: "VALUE", text: ({ value }) => value },
          ...(options.origin === true
            ? [{ header: "FROM", text: ({ origin }: Setting) => origin }]
            : []),
        ],
        ({ key, value, origin }) => ({ name: key, value, origin }),
      );
    });

  command
    .command("get <name>")
    .description("print one setting, as in port, limits.messageBytesMax or client.url")
    .option("--config <file>", "the file of the server's settings (COLLECTOR_CONFIG)")
    .action(async (name: string, options: ShowOptions, self: Command) => {
      const { output, target } = context(self);
      const { url, namespace } = await target();
      const settings = [
        clientSetting("url", url, localUrl),
        clientSetting("namespace", namespace, ""),
        ...serverSettings(load(options.config, environment)),
      ];
      const found = settings.find(({ key }) => key === name);
      if (found === undefined) {
        throw new CliError("SETTING_NOT_FOUND", `there is no setting \`${name}\``, {
          exitCode: exitCodes.notFound,
          hint: "`collector config show` shows all of them",
        });
      }
      output.result(found.value, { name, value: found.value, origin: found.origin });
    });

  command
    .command("set <context>")
    .description("give a server a name, for --context and `collector config use`")
    .addHelpText(
      "after",
      "\nExample:\n  collector config set prod --url https://collector.example:50051 -n shop",
    )
    .action(async (name: string, _options: unknown, self: Command) => {
      const { output } = context(self);
      const { url, namespace } = self.optsWithGlobals<{ url?: string; namespace?: string }>();
      if (url === undefined) throw usageError("a context needs an address", "say --url URL");
      const path = contextsPath(environment.env);
      const { current = name, contexts } = readContexts(path);
      writeContexts(path, {
        current,
        contexts: { ...contexts, [name]: namespace === undefined ? { url } : { url, namespace } },
      });
      const inUse = current === name ? ", which is in use" : "";
      output.result(`set context ${name}${inUse}`, { name, url, current });
    });

  command
    .command("use <context>")
    .description("talk to this server from now on, unless something else is said")
    .action(async (name: string, _options: unknown, self: Command) => {
      const { output } = context(self);
      const path = contextsPath(environment.env);
      const { contexts } = readContexts(path);
      if (!(name in contexts)) throw unknownContext(name, Object.keys(contexts));
      writeContexts(path, { current: name, contexts });
      output.result(`using context ${name}`, { name });
    });

  command
    .command("contexts")
    .description("list the servers that have names")
    .action(async (_options: unknown, self: Command) => {
      const { output } = context(self);
      const { current, contexts } = readContexts(contextsPath(environment.env));
      const rows = Object.entries(contexts).map(([name, found]) => ({ name, ...found }));
      output.list(
        rows,
        [
          { header: "NAME", text: ({ name }) => name },
          { header: "URL", text: ({ url }) => url },
          { header: "NAMESPACE", text: ({ namespace = "" }) => namespace },
          { header: "IN USE", text: ({ name }) => (name === current ? "yes" : "") },
        ],
        ({ name, url, namespace = "" }) => ({ name, url, namespace, current: name === current }),
      );
      if (rows.length === 0)
        output.note("no contexts; `collector config set NAME --url URL` makes one");
    });

  command
    .command("rm <context>")
    .description("forget the name of a server")
    .action(async (name: string, _options: unknown, self: Command) => {
      const { output } = context(self);
      const path = contextsPath(environment.env);
      const { current, contexts } = readContexts(path);
      if (!(name in contexts)) throw unknownContext(name, Object.keys(contexts));
      const { [name]: _, ...rest } = contexts;
      writeContexts(path, current === name ? { contexts: rest } : { current, contexts: rest });
      output.result(`removed context ${name}`, { name });
    });
};

function load(file: string | undefined, { env }: CliEnvironment): LoadedConfig {
  const path = file ?? (env["COLLECTOR_CONFIG"] || configFileIn(process.cwd()));
  return loadConfig({ flags: {}, env, file: path });
}

function clientSetting(key: string, { value, origin, from }: Sourced, fallback: string): Setting {
  const where = from === undefined ? origin : `${origin} ${from}`;
  return { key: `client.${key}`, value: value ?? fallback, origin: where };
}

function serverSettings({ config, origins }: LoadedConfig): readonly Setting[] {
  const { limits, ...plain } = config;
  const settings = Object.entries(plain).map(([key, value]) => ({
    key,
    value: Array.isArray(value) ? value.join(",") : String(value ?? ""),
    origin: origins[key as keyof typeof config] ?? "default",
  }));
  const set = Object.entries(limits).map(([key, value]) => ({
    key: `limits.${key}`,
    value: String(value),
    origin: origins.limits ?? "default",
  }));
  return [...settings, ...set];
}
