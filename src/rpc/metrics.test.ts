import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Code } from "@connectrpc/connect";
import type { Call } from "./call.ts";
import { Metrics } from "./metrics.ts";

function call(serviceName: string, methodName: string, protocol: Call["protocol"] = "grpc"): Call {
  return { serviceName, methodName, protocol } as Call;
}

async function linesOf(metrics: Metrics): Promise<string[]> {
  return (await metrics.render()).split("\n");
}

describe("Metrics", () => {
  it("counts calls by method, protocol and code", async () => {
    const metrics = new Metrics({ version: "1.2.3" });
    metrics.record(call("a.B", "C"), undefined, 0.2);
    metrics.record(call("a.B", "C"), undefined, 0.2);
    metrics.record(call("a.B", "C", "connect"), Code.Unauthenticated, 0.2);
    metrics.record(call("a.B", "D"), Code.NotFound, 0.2);
    const lines = await linesOf(metrics);
    const count = (method: string, protocol: string, code: string): string =>
      `collector_calls_total{service="a.B",method="${method}",protocol="${protocol}",code="${code}"}`;
    assert.ok(lines.includes(`${count("C", "grpc", "OK")} 2`));
    assert.ok(lines.includes(`${count("C", "connect", "UNAUTHENTICATED")} 1`));
    assert.ok(lines.includes(`${count("D", "grpc", "NOT_FOUND")} 1`));
    assert.ok(lines.includes("# TYPE collector_calls_total counter"));
  });

  it("puts durations into cumulative buckets", async () => {
    const metrics = new Metrics({ version: "1.2.3" });
    for (const ms of [0.0625, 0.1, 3, 70_000]) metrics.record(call("a.B", "C"), undefined, ms);
    const lines = await linesOf(metrics);
    const labels = 'service="a.B",method="C",protocol="grpc"';
    const bucket = (le: string): string =>
      `collector_call_duration_seconds_bucket{le="${le}",${labels}}`;
    assert.ok(lines.includes(`${bucket("0.0001")} 2`));
    assert.ok(lines.includes(`${bucket("0.0025")} 2`));
    assert.ok(lines.includes(`${bucket("0.005")} 3`));
    assert.ok(lines.includes(`${bucket("5")} 3`));
    assert.ok(lines.includes(`${bucket("+Inf")} 4`));
    const sum = lines.find((line) =>
      line.startsWith(`collector_call_duration_seconds_sum{${labels}}`),
    );
    assert.ok(Math.abs(Number(sum?.split(" ").at(-1)) - 70.0031625) < 1e-9, sum);
    assert.ok(lines.includes(`collector_call_duration_seconds_count{${labels}} 4`));
  });

  it("bounds how many methods it tells apart", async () => {
    const metrics = new Metrics({ version: "1.2.3" });
    for (let i = 0; i < 2500; i += 1) metrics.record(call("user.S", `M${i}`), undefined, 1);
    const lines = await linesOf(metrics);
    const counted = lines.filter((line) => line.startsWith("collector_calls_total{"));
    assert.equal(counted.length, 2001);
    assert.match(counted.at(-1) ?? "", /service="other",method="other".* 500$/);
  });

  it("counts every server of a process by itself", async () => {
    const [one, two] = [new Metrics({ version: "1" }), new Metrics({ version: "1" })];
    one.record(call("a.B", "C"), undefined, 1);
    assert.doesNotMatch(await two.render(), /a\.B/);
  });
});
