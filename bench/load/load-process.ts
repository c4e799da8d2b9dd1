import { createHistogram, type RecordableHistogram } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { LoadConnection } from "./load-connection.ts";
import type { FlowResult, LoadJob, LoadMessage } from "./load-job.ts";
import { type Messages, messagesOf } from "./sources.ts";

/** One of the job's flows while it runs. */
interface Flow {
  readonly messages: Messages;
  readonly perSecond: number | undefined;
  latency: RecordableHistogram;
  done: number;
  /** How often calls ended in which other way than with a message. */
  failures: Record<string, number>;
  begun: number;
}

/** How often a flow with a rate sends what is due, in ms. */
const tickMs = 1;

function tell(message: LoadMessage): void {
  if (process.send === undefined) throw new Error("this is started by load.ts only");
  process.send(message);
}

async function run(job: LoadJob): Promise<void> {
  const flows: Flow[] = job.flows.map(({ source, perSecond }) => ({
    messages: messagesOf(source),
    perSecond,
    latency: createHistogram(),
    done: 0,
    failures: {},
    begun: 0,
  }));
  let running = true;
  const connections: LoadConnection[] = [];
  for (let index = 0; index < job.connections; index += 1) {
    const connection: LoadConnection = await LoadConnection.open(
      job.url,
      (tag, beganMs, failure) => {
        const flow = flows[tag];
        if (flow === undefined) return;
        flow.done += 1;
        if (failure !== undefined) flow.failures[failure] = (flow.failures[failure] ?? 0) + 1;
        flow.latency.record(Math.max(1, Math.round((performance.now() - beganMs) * 1e6)));
        if (flow.perSecond === undefined && running) begin(connection, flow, tag);
      },
    );
    connections.push(connection);
  }

  for (const connection of connections) {
    for (const [tag, flow] of flows.entries()) {
      if (flow.perSecond !== undefined) continue;
      const inFlight = job.flows[tag]?.inFlight ?? 1;
      for (let index = 0; index < inFlight / connections.length; index += 1) {
        begin(connection, flow, tag);
      }
    }
    connection.flush();
  }
  const ticking = sendAtRate(flows, connections);
  await sleep(job.warmUpMs);
  for (const flow of flows) {
    Object.assign(flow, { latency: createHistogram(), done: 0, failures: {} });
  }
  const cpu = process.cpuUsage();
  const beganMs = performance.now();
  tell({ kind: "begun" });
  await sleep(job.runMs);
  // On a busy machine nothing may have been answered yet, and that would be no figure.
  for (let waits = 0; waits < 300 && flows.some(({ done }) => done === 0); waits += 1) {
    await sleep(100);
  }
  const tookMs = performance.now() - beganMs;
  const { user, system } = process.cpuUsage(cpu);
  for (const { failure } of connections) if (failure !== undefined) throw failure;
  const results = flows.map((flow) => resultOf(flow, tookMs));
  tell({ kind: "ended", results, cpuUs: user + system, tookMs });

  running = false;
  clearInterval(ticking);
  // Let what is in flight come home, so that the server has no aborted calls to clean up.
  for (let round = 0; round < 500 && connections.some(({ open }) => open > 0); round += 1) {
    await sleep(10);
  }
  const failure = connections.find((connection) => connection.failure !== undefined)?.failure;
  for (const connection of connections) connection.close();
  if (failure !== undefined) throw failure;
}

function begin(connection: LoadConnection, flow: Flow, tag: number): void {
  flow.begun += 1;
  connection.call(flow.messages.path, flow.messages.next(), tag);
}

/** Sends what is due by now, whether or not the server keeps up. */
function sendAtRate(
  flows: readonly Flow[],
  connections: readonly LoadConnection[],
): NodeJS.Timeout {
  const beganMs = performance.now();
  const sent = flows.map(() => 0);
  return setInterval(() => {
    const elapsedS = (performance.now() - beganMs) / 1000;
    for (const [tag, flow] of flows.entries()) {
      if (flow.perSecond === undefined) continue;
      for (let due = Math.floor(elapsedS * flow.perSecond); (sent[tag] ?? due) < due; ) {
        const connection = connections[flow.begun % connections.length];
        if (connection !== undefined) begin(connection, flow, tag);
        sent[tag] = (sent[tag] ?? 0) + 1;
      }
    }
    for (const connection of connections) connection.flush();
  }, tickMs);
}

function resultOf(flow: Flow, tookMs: number): FlowResult {
  const { latency } = flow;
  const ms = (ns: number) => Math.round(ns / 1e3) / 1e3;
  return {
    done: flow.done,
    failures: flow.failures,
    perSecond: flow.done / (tookMs / 1000),
    latencyMs: {
      mean: ms(latency.mean),
      p50: ms(latency.percentile(50)),
      p99: ms(latency.percentile(99)),
      p999: ms(latency.percentile(99.9)),
      max: ms(latency.max),
    },
  };
}

process.once("message", (job: LoadJob) => {
  run(job).then(
    () => process.disconnect(),
    (error: unknown) => {
      tell({ kind: "failed", reason: String(error) });
      process.disconnect();
    },
  );
});
