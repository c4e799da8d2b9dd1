import type { JsonValue } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { LinkState, type LinkStatus } from "../../gen/collector/mesh_pb.ts";
import type { DefineCommands } from "../define-commands.ts";
import { exitCodes } from "../exit-codes.ts";
import { CliError } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import type { Column } from "../output.ts";

interface ConnectOptions {
  readonly namespaces?: readonly string[];
  readonly label: readonly string[];
}

interface Row {
  readonly status: LinkStatus;
  /** Id of the collector at the other end. */
  readonly peer: string;
}

const columns: readonly Column<Row>[] = [
  { header: "ID", text: ({ status }) => status.connection?.id ?? "" },
  { header: "COLLECTOR", text: ({ peer }) => peer },
  { header: "ADDRESS", text: ({ status }) => status.connection?.address ?? "" },
  { header: "STATE", text: ({ status }) => stateOf(status) },
  { header: "ROUND TRIP", text: ({ status }) => roundTripOf(status), right: true },
  { header: "SHARES", text: ({ status }) => listed(status.connection?.sharedNamespaces ?? []) },
  { header: "PROBLEM", text: ({ status }) => status.problem, whole: true },
];

/** `collector mesh …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("connect <address>")
    .description("link another collector to the server, both ways, until one of them leaves")
    .option("--namespaces <name,…>", "namespaces to offer; all if it is left out", split)
    .option("--label <key=value>", "a note to keep with the link; may be repeated", append, [])
    .action(async (address: string, options: ConnectOptions, self) => {
      const { output, connect, signal } = context(self);
      const labels = parseLabels(options.label);
      await using client = await connect();
      const { namespaces } = options;
      const link = await client.mesh.connect(address, { namespaces, labels, signal });
      const { id, collectorId, sharedNamespaces, roundTripMs } = link;
      const time = roundTripMs === 0 ? "" : ` (${formatMs(roundTripMs)})`;
      output.result(`linked to ${collectorId}${time}, shares: ${listed(sharedNamespaces)}`, {
        id,
        collectorId,
        sharedNamespaces: [...sharedNamespaces],
        roundTripMs,
      });
    });

  command
    .command("list")
    .description("list the links of the server to other collectors")
    .action(async (_options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const links = await client.mesh.connections({ signal });
      const { collectorId } = await client.services.records.meta({}, { signal });
      const rows = links.map((status) => ({ status, peer: peerOf(status, collectorId) }));
      output.list(rows, columns, toJson);
      if (rows.length === 0) output.note("no links");
    });

  command
    .command("leave <collector>")
    .description("remove a link, at both ends; by the id of the collector, or of the link")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const links = await client.mesh.connections({ signal });
      const { collectorId } = await client.services.records.meta({}, { signal });
      const link = links.find(
        (status) => status.connection?.id === name || peerOf(status, collectorId) === name,
      );
      const id = link?.connection?.id;
      if (id === undefined) {
        throw new CliError("LINK_NOT_FOUND", `there is no link to a collector ${name}`, {
          hint: "`collector mesh list` shows the links there are",
          exitCode: exitCodes.notFound,
        });
      }
      await client.mesh.disconnect(id, { signal });
      output.result(`left ${name}`, { id });
    });
};

function toJson({ status, peer }: Row): JsonValue {
  const { connection, problem, dials } = status;
  const { lastActivity } = connection ?? {};
  return {
    id: connection?.id ?? "",
    collectorId: peer,
    address: connection?.address ?? "",
    state: stateOf(status),
    problem,
    dials,
    sharedNamespaces: [...(connection?.sharedNamespaces ?? [])],
    labels: { ...connection?.metadata?.labels },
    roundTripMs: Number(status.roundTripUs) / 1000,
    callsInFlight: Number(status.callsInFlight),
    reconnects: Number(status.reconnects),
    lastActivity: lastActivity === undefined ? null : timestampDate(lastActivity).toISOString(),
  };
}

function peerOf({ connection }: LinkStatus, ownId: string): string {
  const { sourceCollectorId = "", targetCollectorId = "" } = connection ?? {};
  return sourceCollectorId === ownId ? targetCollectorId : sourceCollectorId;
}

function stateOf({ state }: LinkStatus): string {
  return state === LinkState.UP ? "up" : "down";
}

function roundTripOf({ state, roundTripUs }: LinkStatus): string {
  return state === LinkState.UP && roundTripUs > 0n ? formatMs(Number(roundTripUs) / 1000) : "";
}

function formatMs(ms: number): string {
  return ms < 10 ? `${Number(ms.toPrecision(2))} ms` : `${Math.round(ms)} ms`;
}

function listed(names: readonly string[]): string {
  return names.length === 0 ? "nothing" : names.join(", ");
}

function split(text: string, previous: readonly string[] = []): readonly string[] {
  const names = text.split(",").map((name) => name.trim());
  return [...previous, ...names.filter((name) => name !== "")];
}

function append(text: string, previous: readonly string[]): readonly string[] {
  return [...previous, text];
}
