import type { Executor } from "../gen/collector/service_hosts_pb.ts";
import type { Output } from "./output.ts";
import {
  type HostedService,
  healthOf,
  kindOf,
  natureOf,
  plainType,
  runnersOf,
  serviceJson,
} from "./services.ts";

/** Prints a service: its methods, what runs them, and how to call one. */
export function showService(hosted: HostedService, output: Output): void {
  if (output.format !== "table") {
    output.json(serviceJson(hosted));
    return;
  }
  const { service, executors } = hosted;
  const { serviceName, namespace, fileName, version, builtIn } = service;
  output.facts(
    [
      ["Service", serviceName],
      ["Namespace", namespace],
      ["File", builtIn ? `${fileName} (built in)` : `${fileName} (version ${version})`],
      ["Run by", runnersOf(hosted)],
    ],
    {},
  );
  output.line("");
  const methods = service.serviceDescriptor?.method ?? [];
  output.list(
    methods,
    [
      { header: "METHOD", text: ({ name }) => name },
      { header: "REQUEST", text: ({ inputType }) => plainType(inputType) },
      { header: "ANSWER", text: ({ outputType }) => plainType(outputType) },
      { header: "KIND", text: ({ name }) => natureOf(service, name) },
    ],
    ({ name }) => name,
  );
  if (executors.length > 0) {
    output.line("");
    output.list<Executor>(
      executors,
      [
        { header: "EXECUTOR", text: ({ id }) => id },
        { header: "KIND", text: kindOf },
        { header: "CALLS", text: ({ callsInFlight }) => String(callsInFlight), right: true },
        { header: "LABELS", text: ({ labels }) => labelText(labels) },
        { header: "HEALTH", text: healthOf, whole: true },
      ],
      ({ id }) => id,
    );
  }
  const [method] = methods;
  if (method === undefined) return;
  output.line("");
  output.line(`collector describe ${serviceName}/${method.name}`);
}

function labelText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");
}
