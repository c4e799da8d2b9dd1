import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Duration, durationMs, timestampDate, timestampMs } from "@bufbuild/protobuf/wkt";
import type {
  BackupPolicy,
  BackupPolicy_Retention,
  BackupPolicy_Run,
  BackupPolicySchema,
} from "../gen/collector/backups_pb.ts";
import { collect } from "./backup-options.ts";
import type { DefineCommands } from "./define-commands.ts";
import { type DryRun, dryRunOption, tellDryRun } from "./dry-run.ts";
import { CliError, usageError } from "./failure.ts";
import { parsePairs } from "./labels.ts";
import { longWork } from "./long-work.ts";
import { type Column, count, formatBytes } from "./output.ts";
import { allPages } from "./paging.ts";
import { parseCount, parsePeriod } from "./period.ts";

interface PutOptions {
  readonly collection?: string;
  readonly wholeServer?: boolean;
  readonly cron?: string;
  readonly timeZone?: string;
  readonly every?: string;
  readonly keepLast?: string;
  readonly keepWithin?: string;
  readonly keepDaily?: string;
  readonly keepWeekly?: string;
  readonly keepMonthly?: string;
  readonly includeManual?: boolean;
  readonly incremental?: boolean;
  readonly fullEvery?: string;
  readonly files: boolean;
  readonly meta?: readonly string[];
  readonly suspend?: boolean;
  readonly dryRun?: boolean;
}

interface RunOptions {
  readonly pruneOnly?: boolean;
  readonly dryRun?: boolean;
}

const columns: readonly Column<BackupPolicy>[] = [
  { header: "NAME", text: ({ name }) => name },
  { header: "OF", text: reachOf },
  { header: "WHEN", text: scheduleOf },
  { header: "KEEPS", text: ({ retention }) => retentionOf(retention) },
  { header: "NEXT", text: nextOf },
  { header: "LAST RUN", text: lastRunOf },
];

/** `collector backup policy …` */
export const defineBackupPolicy: DefineCommands = (command, context, environment) => {
  command.description("have the server make backups by itself, and remove old ones");

  command
    .command("put <name>")
    .description("create or replace a policy; of all collections, or those of the namespace of -n")
    .option("--collection <name>", "only this collection, as in products or shop/products")
    .option("--whole-server", "the registry too, each run a set for `backup server restore`")
    .option("--cron <expression>", 'when to run, as in "0 3 * * *"')
    .option("--time-zone <name>", "time zone of --cron, as in Europe/Berlin (default UTC)")
    .option("--every <time>", "how often to run, as in 6h")
    .option("--keep-last <number>", "keep the newest ones")
    .option("--keep-within <time>", "keep what is younger, as in 30d")
    .option("--keep-daily <number>", "keep the newest of each of so many days")
    .option("--keep-weekly <number>", "keep the newest of each of so many weeks")
    .option("--keep-monthly <number>", "keep the newest of each of so many months")
    .option("--include-manual", "count and remove backups too that callers made")
    .option("--incremental", "only what changed, if that can be told")
    .option("--full-every <number>", "everything anew after so many incremental ones (default 7)")
    .option("--no-files", "leave out attached files")
    .option("--meta <key=value>", "note to keep with each backup; may be repeated", collect)
    .option("--suspend", "keep the policy without running it")
    .option("--dry-run", "check the policy and keep nothing")
    .addHelpText(
      "after",
      `
A backup is kept if any of the --keep options keeps it; without one, all are. The newest valid backup of
a collection is always kept.

Example:
  collector backup policy put nightly -n shop --cron "0 3 * * *" --keep-daily 7 --keep-weekly 4`,
    )
    .action(async (name: string, options: PutOptions, self) => {
      const { output, connect, signal, namespace = "" } = context(self);
      const policy = policyOf(name, namespace, options);
      await using client = await connect();
      const { dryRun: validateOnly = false } = options;
      const request = { policy, validateOnly };
      const put = await client.services.backups.putBackupPolicy(request, { signal });
      const next = nextOf(put);
      const sentence = `put ${name}${next === "" ? "" : `, next run ${next}`}`;
      output.result(validateOnly ? `${name} is valid` : sentence, await client.toJson(put));
    });

  command
    .command("list")
    .description("list the policies")
    .action(async (_options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const policies = await allPages(async (pageToken) => {
        const page = await client.services.backups.listBackupPolicies({ pageToken }, { signal });
        return { items: page.policies, nextPageToken: page.nextPageToken };
      });
      const rows = await Promise.all(
        policies.map(async (policy) => ({ policy, json: await client.toJson(policy) })),
      );
      const rowColumns = columns.map(({ header, text }) => ({
        header,
        text: ({ policy }: (typeof rows)[number]) => text(policy),
      }));
      output.list(rows, rowColumns, ({ json }) => json);
      if (rows.length === 0) output.note("no policies");
    });

  command
    .command("show <name>")
    .description("show a policy and its last runs")
    .action(async (name: string, _options, self) => {
      const { output, connect, signal } = context(self);
      await using client = await connect();
      const policy = await client.services.backups.getBackupPolicy({ name }, { signal });
      const facts = columns.map(
        ({ header, text }) => [header.toLowerCase(), text(policy)] as const,
      );
      output.facts(facts, await client.toJson(policy));
      if (output.format !== "table" || policy.runs.length === 0) return;
      output.line("");
      output.list(
        policy.runs,
        [
          { header: "RUN", text: ({ startTime }) => timeOf(startTime) },
          { header: "MADE", text: ({ madeCount }) => String(madeCount), right: true },
          { header: "SIZE", text: (run) => formatBytes(run.bytesWritten), right: true },
          { header: "REMOVED", text: ({ deletedCount }) => String(deletedCount), right: true },
          { header: "TOOK", text: tookOf },
          { header: "WENT WRONG", text: ({ errors }) => errors.join("; "), whole: true },
        ],
        () => name,
      );
    });

  command
    .command("run <name>")
    .description("run a policy now: make its backups, remove what it does not keep")
    .option("--prune-only", "make no backups")
    .option("--dry-run", "only say which backups would be removed")
    .action(async (name: string, options: RunOptions, self) => {
      const { output, connect, signal } = context(self);
      const { pruneOnly = false, dryRun: validateOnly = false } = options;
      await using client = await connect();
      const request = { name, pruneOnly, validateOnly };
      const answer = validateOnly
        ? await client.services.backups.runBackupPolicy(request, { signal })
        : await longWork(`running ${name}`, environment, (long) =>
            client.backups.runPolicy(name, { ...long, pruneOnly }),
          );
      const { madeCount = 0, deletedBackupIds = [], errors = [] } = answer.run ?? {};
      const removes = validateOnly ? "would remove" : "removed";
      const made = validateOnly || pruneOnly ? "" : `made ${count(madeCount, "backup")}, `;
      output.result(
        `${name}: ${made}${removes} ${deletedBackupIds.length}`,
        await client.toJson(answer),
      );
      for (const id of deletedBackupIds) output.note(`${removes} ${id}`);
      if (errors.length === 0) return;
      throw new CliError("POLICY_RUN_FAILED", `policy ${name}: ${errors.join("; ")}`);
    });

  command
    .command("rm <name>")
    .description("remove a policy; its backups stay")
    .option(...dryRunOption)
    .action(async (name: string, { dryRun = false }: DryRun, self) => {
      const { output, connect, confirm, signal } = context(self);
      await using client = await connect();
      const policy = await client.services.backups.getBackupPolicy({ name }, { signal });
      if (dryRun) {
        const what = `delete policy ${name} of ${reachOf(policy)}, ${scheduleOf(policy)}`;
        tellDryRun(output, what, { name });
        return;
      }
      await confirm(`delete policy ${name}?`);
      await client.services.backups.deleteBackupPolicy({ name }, { signal });
      output.result(`deleted policy ${name}`, { name });
    });
};

function policyOf(
  name: string,
  namespaceOfCall: string,
  options: PutOptions,
): MessageInitShape<typeof BackupPolicySchema> {
  const { collection = "", cron, every } = options;
  if (cron !== undefined && every !== undefined) {
    throw usageError("--cron and --every exclude each other");
  }
  const at = collection.indexOf("/");
  const namespace = at < 0 ? namespaceOfCall : collection.slice(0, at);
  const interval = every === undefined ? undefined : parsePeriod(every, "--every");
  const number = (text: string | undefined, option: string): number =>
    text === undefined ? 0 : parseCount(text, option);
  const { keepLast, keepDaily, keepWeekly, keepMonthly, keepWithin } = options;
  const keeps = [keepLast, keepDaily, keepWeekly, keepMonthly, keepWithin];
  return {
    name,
    namespace,
    timeZone: options.timeZone ?? "",
    wholeServer: options.wholeServer === true,
    collectionName: collection.slice(at + 1),
    includeManual: options.includeManual === true,
    excludeFiles: !options.files,
    incremental: options.incremental === true,
    fullEvery: number(options.fullEvery, "--full-every"),
    metadata: parsePairs(options.meta ?? [], "--meta"),
    suspended: options.suspend === true,
    ...(cron === undefined ? {} : { schedule: { case: "cron", value: cron } }),
    ...(interval === undefined ? {} : { schedule: { case: "interval", value: interval } }),
    ...(keeps.every((keep) => keep === undefined)
      ? {}
      : {
          retention: {
            keepLast: number(keepLast, "--keep-last"),
            keepDaily: number(keepDaily, "--keep-daily"),
            keepWeekly: number(keepWeekly, "--keep-weekly"),
            keepMonthly: number(keepMonthly, "--keep-monthly"),
            ...(keepWithin === undefined
              ? {}
              : { keepWithin: parsePeriod(keepWithin, "--keep-within") }),
          },
        }),
  };
}

function reachOf({ namespace, collectionName, wholeServer }: BackupPolicy): string {
  if (wholeServer) return "whole server";
  if (collectionName !== "") return `${namespace}/${collectionName}`;
  return namespace === "" ? "everything" : `${namespace}/*`;
}

function scheduleOf({ schedule, timeZone, suspended }: BackupPolicy): string {
  if (suspended) return "suspended";
  if (schedule.case === "cron") return [schedule.value, timeZone].join(" ").trim();
  return schedule.case === "interval" ? `every ${periodText(schedule.value)}` : "on demand";
}

function retentionOf(retention: BackupPolicy_Retention | undefined): string {
  const {
    keepLast = 0,
    keepWithin,
    keepDaily = 0,
    keepWeekly = 0,
    keepMonthly = 0,
  } = retention ?? {};
  const rules = [
    keepLast === 0 ? "" : `last ${keepLast}`,
    keepWithin === undefined ? "" : `within ${periodText(keepWithin)}`,
    keepDaily === 0 ? "" : `daily ${keepDaily}`,
    keepWeekly === 0 ? "" : `weekly ${keepWeekly}`,
    keepMonthly === 0 ? "" : `monthly ${keepMonthly}`,
  ].filter((rule) => rule !== "");
  return rules.length === 0 ? "all" : rules.join(", ");
}

function nextOf({ nextRunTime }: BackupPolicy): string {
  return timeOf(nextRunTime);
}

function lastRunOf({ runs }: BackupPolicy): string {
  const [last] = runs;
  if (last === undefined) return "";
  if (isUnderWay(last)) return "under way";
  return last.errors.length === 0 ? `ok ${timeOf(last.startTime)}` : "failed";
}

function isUnderWay({ endTime, errors }: BackupPolicy_Run): boolean {
  return endTime === undefined && errors.length === 0;
}

function tookOf(run: BackupPolicy_Run): string {
  const { startTime, endTime } = run;
  if (isUnderWay(run)) return "under way";
  if (startTime === undefined || endTime === undefined) return "was cut";
  return `${((timestampMs(endTime) - timestampMs(startTime)) / 1000).toFixed(1)} s`;
}

function timeOf(time: Parameters<typeof timestampDate>[0] | undefined): string {
  return time === undefined
    ? ""
    : timestampDate(time)
        .toISOString()
        .replace(/[.]\d+Z$/, "Z");
}

const units = [
  ["d", 86_400_000],
  ["h", 3_600_000],
  ["m", 60_000],
] as const;

/** As in `6h`. */
function periodText(duration: Duration): string {
  const ms = durationMs(duration);
  const [unit, unitMs] = units.find(([, candidateMs]) => ms % candidateMs === 0) ?? ["s", 1000];
  return `${ms / unitMs}${unit}`;
}
