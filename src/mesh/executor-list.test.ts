import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Executor_Kind as Kind } from "../gen/collector/service_hosts_pb.ts";
import { defaultLimits } from "../lib/limits.ts";
import type { TypeSource } from "../registry/type-snapshot.ts";
import { listExecutors } from "./executor-list.ts";
import { fakeExecutor } from "./testing/fake-executor.ts";

const types = {
  snapshot: () => ({ service: (name: string) => ({ typeName: `shop.v1.${name}` }) }),
} as unknown as TypeSource;

const executors = [
  fakeExecutor("b", { kind: "worker", inFlight: 3, labels: { zone: "a" }, sinceMs: 5000 }),
  fakeExecutor("a", { ready: false, problem: "it is down", address: "http://127.0.0.1:1" }),
  fakeExecutor("a", { serviceName: "shop.v1.Stock", kind: "handler" }),
  fakeExecutor("c", { namespace: "other", kind: "peer" }),
];

const all = { namespace: "default", serviceName: "", pageSize: 0, pageToken: "" };

describe("the list of executors", () => {
  it("is of one namespace, by service and then by id", () => {
    const { executors: listed, nextPageToken } = listExecutors(
      executors,
      types,
      all,
      defaultLimits,
    );
    assert.deepEqual(
      listed.map(({ serviceName, id, kind }) => [serviceName, id, kind]),
      [
        ["shop.v1.Shop", "a", Kind.ENDPOINT],
        ["shop.v1.Shop", "b", Kind.WORKER],
        ["shop.v1.Stock", "a", Kind.HANDLER],
      ],
    );
    assert.equal(nextPageToken, "");
    const [down, busy] = listed;
    assert.deepEqual(
      [down?.ready, down?.problem, down?.address],
      [false, "it is down", "http://127.0.0.1:1"],
    );
    assert.deepEqual(
      [busy?.callsInFlight, busy?.labels, busy?.since?.seconds, busy?.collectorId],
      [3n, { zone: "a" }, 5n, "here"],
    );
  });

  it("is of one service if asked for, whose name may be short", () => {
    const query = { ...all, serviceName: "Stock" };
    const { executors: listed } = listExecutors(executors, types, query, defaultLimits);
    assert.deepEqual(
      listed.map(({ serviceName }) => serviceName),
      ["shop.v1.Stock"],
    );
  });

  it("comes page by page", () => {
    const seen: string[] = [];
    let pageToken = "";
    do {
      const query = { ...all, pageSize: 1, pageToken };
      const page = listExecutors(executors, types, query, defaultLimits);
      seen.push(...page.executors.map(({ serviceName, id }) => `${serviceName}/${id}`));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    assert.deepEqual(seen, ["shop.v1.Shop/a", "shop.v1.Shop/b", "shop.v1.Stock/a"]);
    assert.throws(
      () => listExecutors(executors, types, { ...all, pageToken: "nonsense" }, defaultLimits),
      { reason: "PAGE_TOKEN_INVALID" },
    );
  });
});
