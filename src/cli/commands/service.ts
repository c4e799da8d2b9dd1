import { attachCommand } from "../attach-command.ts";
import { attachEndpoints, detachEndpoints } from "../attach-endpoints.ts";
import type { DefineCommands } from "../define-commands.ts";
import { usageError } from "../failure.ts";
import { parseCount } from "../find-options.ts";
import { parseLabels } from "../labels.ts";
import { type Column, count } from "../output.ts";
import { type HostedService, hostedServices, runnersOf, serviceJson } from "../services.ts";
import { showService } from "../show-service.ts";

interface ListOptions {
  readonly builtIn: boolean;
}

interface AttachOptions {
  readonly label?: readonly string[];
  readonly exec?: string;
  readonly calls: number;
  readonly replace?: boolean;
  readonly dryRun?: boolean;
}

interface DetachOptions {
  readonly all?: boolean;
  readonly dryRun?: boolean;
}

const columns: readonly Column<HostedService>[] = [
  { header: "NAMESPACE", text: ({ service }) => service.namespace },
  { header: "NAME", text: ({ service }) => service.serviceName },
  { header: "METHODS", text: ({ service }) => String(service.methodNames.length), right: true },
  { header: "RUN BY", text: runnersOf },
];

/** `collector service …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("list [query]")
    .description("list services and what runs them; a query is a part of the name")
    .option("--no-built-in", "only those that were registered")
    .action(async (query: string | undefined, { builtIn }: ListOptions, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const all = await hostedServices(client, client.namespace, signal);
      const shown = all
        .filter(({ service }) => builtIn || !service.builtIn)
        .filter(({ service }) => service.serviceName.includes(query ?? ""));
      output.list(shown, columns, serviceJson);
      if (shown.length === 0) output.note("no services; `collector schema add FILE` adds some");
    });

  command
    .command("show <service>")
    .description("show a service: its methods, and what runs them")
    .action(async (serviceName: string, _options, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      await using client = await connect();
      const request = { namespace, serviceName };
      const { service, executors } = await client.services.registry.lookupService(request, {
        signal,
      });
      if (service !== undefined) showService({ service, executors }, output);
    });

  command
    .command("attach <service> [address...]")
    .description(
      "have calls of a service run by gRPC servers at these addresses, as host:port, or by a command here",
    )
    .option("--exec <command>", "run this command for each call, until Ctrl-C")
    .option("--calls <number>", "most calls that --exec runs at a time", parseCount, 16)
    .option("--label <key=value>", "label of the addresses; may be repeated", collect)
    .option("--replace", "instead of the addresses there are, not beside them")
    .option("--dry-run", "check everything and change nothing")
    .addHelpText(
      "after",
      `
An address is dialled by the server, which has to allow it (--peers). The command of --exec gets the requests
of a call on stdin as JSON, a line each, and every line of its stdout is an answer; COLLECTOR_METHOD says
which method it is. If it does not end with 0, the call fails with the last line of its stderr.

Examples:
  collector service attach shop.v1.Shop 127.0.0.1:7001 127.0.0.1:7002 --label zone=a
  collector service attach shop.v1.Shop --exec 'jq -c "{cents: 100}"'`,
    )
    .action(async (serviceName: string, addresses: string[], options: AttachOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const { replace = false, dryRun = false, exec, calls: callsMax } = options;
      const labels = parseLabels(options.label ?? []);
      if ((exec === undefined) === (addresses.length === 0)) {
        throw usageError("attach takes addresses, or a command with --exec");
      }
      await using client = await connect();
      if (exec !== undefined) {
        await attachCommand(
          client,
          { serviceName, command: exec, labels, callsMax },
          output,
          signal,
        );
        return;
      }
      const { service, endpoints } = await attachEndpoints(
        client,
        { namespace, serviceName, dryRun },
        { addresses, labels, replace },
        signal,
      );
      const sentence = `${service} is run by ${count(endpoints.length, "endpoint")}`;
      const json = { name: service, endpoints: [...endpoints], dryRun };
      output.result(dryRun ? `ok: ${addresses.join(", ")} may be attached` : sentence, json);
    });

  command
    .command("detach <service> [address...]")
    .description("take addresses of a service back")
    .option("--all", "all of them")
    .option("--dry-run", "say what would go, and change nothing")
    .action(async (serviceName: string, addresses: string[], options: DetachOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const { all = false, dryRun = false } = options;
      if (all === addresses.length > 0) throw usageError("name addresses, or say --all");
      await using client = await connect();
      const { service, removed, left } = await detachEndpoints(
        client,
        { namespace, serviceName, dryRun },
        all ? undefined : addresses,
        signal,
      );
      const what = `${removed.join(", ")} of ${service}; ${count(left, "endpoint")} left`;
      const json = { name: service, removed: [...removed], left, dryRun };
      output.result(`${dryRun ? "would detach" : "detached"} ${what}`, json);
    });
};

function collect(value: string, previous: readonly string[] = []): readonly string[] {
  return [...previous, value];
}
