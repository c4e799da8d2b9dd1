import type { DefineCommands } from "../define-commands.ts";

/** `collector status` */
export const define: DefineCommands = (command, context) => {
  command.action(async () => {
    const { output, connect, signal } = context(command);
    await using client = await connect();
    const meta = await client.services.records.meta({}, { signal });
    // The first call connects; the second one tells how fast the server answers.
    const startMs = performance.now();
    await client.services.records.meta({}, { signal });
    const roundTripMs = performance.now() - startMs;
    output.facts(
      [
        ["Server", client.url],
        ["Version", meta.serverVersion],
        ["Id", meta.collectorId],
        ["Namespace", client.namespace === "" ? meta.defaultNamespace : client.namespace],
        ["Answered in", `${roundTripMs.toFixed(1)} ms`],
        ["Features", meta.features.join(", ")],
      ],
      {
        url: client.url,
        version: meta.serverVersion,
        collectorId: meta.collectorId,
        defaultNamespace: meta.defaultNamespace,
        roundTripMs,
        features: meta.features,
        limits: Object.fromEntries(
          Object.entries(meta.limits).map(([name, value]) => [name, String(value)]),
        ),
      },
    );
  });
};
