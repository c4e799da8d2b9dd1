import type { JsonValue } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Client } from "../../client/client.ts";
import type { Connection } from "../../gen/collector/dispatcher_pb.ts";
import { LinkState, type LinkStatus } from "../../gen/collector/mesh_pb.ts";
import { type RegistrationConflict, RegistrationKind } from "../../gen/collector/sharing_pb.ts";
import type { DefineCommands } from "../define-commands.ts";
import { exitCodes } from "../exit-codes.ts";
import { CliError } from "../failure.ts";
import { parseLabels } from "../labels.ts";
import type { Column } from "../output.ts";

interface ConnectOptions {
  readonly namespaces?: readonly string[];
  readonly label: readonly string[];
  readonly share?: readonly string[];
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
  { header: "REGISTRATIONS", text: ({ status }) => registrationsOf(status) },
  { header: "PROBLEM", text: ({ status }) => status.problem, whole: true },
];

/** `collector mesh …` */
export const define: DefineCommands = (command, context) => {
  command
    .command("connect <address>")
    .description("link another collector to the server, both ways, until one of them leaves")
    .option("--namespaces <name,…>", "namespaces to offer; all if it is left out", split)
    .option("--share <name,…>", "namespaces to share types and services of, both ways", split)
    .option("--label <key=value>", "a note to keep with the link; may be repeated", append, [])
    .action(async (address: string, options: ConnectOptions, self) => {
      const { output, connect, signal } = context(self);
      const labels = parseLabels(options.label);
      await using client = await connect();
      const { namespaces, share: sharesRegistrations } = options;
      const wishes = { namespaces, labels, sharesRegistrations };
      const link = await client.mesh.connect(address, { ...wishes, signal });
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
      for (const { status, peer } of output.format === "table" ? rows : []) {
        for (const line of conflictLines(status, peer)) output.note(line);
      }
    });

  command
    .command("share <collector> [name...]")
    .description(
      "share types and services over a link, where its other end does too; none: no more",
    )
    .action(async (name: string, namespaces: readonly string[], _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const { id } = await linkTo(client, name, signal);
      await client.mesh.share(id, namespaces, { signal });
      output.result(`shares with ${name}: ${listed(namespaces)}`, {
        id,
        sharesRegistrations: [...namespaces],
      });
    });

  command
    .command("leave <collector>")
    .description("remove a link, at both ends; by the id of the collector, or of the link")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const { id } = await linkTo(client, name, signal);
      await client.mesh.disconnect(id, { signal });
      output.result(`left ${name}`, { id });
    });
};

/** A link by its id, or that of the collector at its other end. */
async function linkTo(client: Client, name: string, signal: AbortSignal): Promise<Connection> {
  const links = await client.mesh.connections({ signal });
  const { collectorId } = await client.services.records.meta({}, { signal });
  const link = links.find(
    (status) => status.connection?.id === name || peerOf(status, collectorId) === name,
  );
  if (link?.connection !== undefined) return link.connection;
  throw new CliError("LINK_NOT_FOUND", `there is no link to a collector ${name}`, {
    hint: "`collector mesh list` shows the links there are",
    exitCode: exitCodes.notFound,
  });
}

function registrationsOf({
  sharedRegistrations,
  registrationConflictCount: count,
}: LinkStatus): string {
  const shared = listed(sharedRegistrations);
  return count === 0n ? shared : `${shared} (${count} in conflict)`;
}

function* conflictLines(status: LinkStatus, peer: string): Iterable<string> {
  const { registrationConflicts: conflicts, registrationConflictCount: count } = status;
  for (const { namespace, name, version, peerVersion, reason, message } of conflicts) {
    const versions = version + peerVersion === 0n ? "" : ` (${version} here, ${peerVersion} there)`;
    yield `conflict with ${peer} in ${namespace}: ${name}${versions}: ${reason}: ${message}`;
  }
  const more = Number(count) - conflicts.length;
  if (more > 0) yield `and ${more} more conflicts with ${peer}`;
}

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
    sharedRegistrations: [...status.sharedRegistrations],
    registrationConflictCount: Number(status.registrationConflictCount),
    registrationConflicts: status.registrationConflicts.map(conflictToJson),
    labels: { ...connection?.metadata?.labels },
    roundTripMs: Number(status.roundTripUs) / 1000,
    callsInFlight: Number(status.callsInFlight),
    reconnects: Number(status.reconnects),
    lastActivity: lastActivity === undefined ? null : timestampDate(lastActivity).toISOString(),
  };
}

function conflictToJson(conflict: RegistrationConflict): JsonValue {
  const { namespace, kind, name, version, peerVersion, reason, message, since } = conflict;
  return {
    namespace,
    kind: kindNames[kind] ?? "",
    name,
    version: Number(version),
    peerVersion: Number(peerVersion),
    reason,
    message,
    since: since === undefined ? null : timestampDate(since).toISOString(),
  };
}

const kindNames: Readonly<Record<RegistrationKind, string>> = {
  [RegistrationKind.UNSPECIFIED]: "namespace",
  [RegistrationKind.FILE]: "file",
  [RegistrationKind.SERVICE]: "service",
};

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
