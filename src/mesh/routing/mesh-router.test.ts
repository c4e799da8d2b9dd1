import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CollectorError } from "../../errors.ts";
import { LocalExecutors } from "../executor.ts";
import { fakeExecutor } from "../testing/fake-executor.ts";
import { Breakers, failuresMax } from "./breakers.ts";
import { MeshRouter } from "./mesh-router.ts";

const serviceName = "shop.v1.Shop";

function peerOf(...way: readonly string[]): ReturnType<typeof fakeExecutor> {
  const [neighborId = ""] = way;
  const collectorId = way.at(-1) ?? "";
  return fakeExecutor(`peer-${way.join("/")}`, { kind: "peer", neighborId, collectorId, way });
}

function open() {
  const [local, peers, breakers] = [new LocalExecutors(), new LocalExecutors(), new Breakers()];
  const router = new MeshRouter({ collectorId: "here", local, peers, breakers, hopsMax: 4 });
  const route = (wish?: Parameters<MeshRouter["route"]>[3]) =>
    router.route("default", serviceName, "Quote", wish);
  return { local, peers, breakers, route };
}

describe("MeshRouter", () => {
  it("says why nothing runs a service", () => {
    const { local, route } = open();
    assert.throws(route, (error) => {
      assert.ok(error instanceof CollectorError);
      assert.equal(error.reason, "SERVICE_UNAVAILABLE");
      assert.match(error.message, /nothing runs it: register endpoints/);
      return true;
    });
    local.add(fakeExecutor("a", { ready: false, problem: "it does not answer" }));
    assert.throws(() => route(), /none of the 1 that run it is ready: it does not answer/);
    const ready = fakeExecutor("b");
    local.add(ready);
    assert.equal(route(), ready);
    assert.throws(() => route({ labels: { zone: "a" } }), { reason: "SERVICE_UNAVAILABLE" });
  });

  it("prefers what is here, then the nearest, unless it is told otherwise", () => {
    const { local, peers, route } = open();
    const [near, far, here] = [peerOf("b"), peerOf("c", "d"), fakeExecutor("h")];
    peers.add(far);
    assert.equal(route(), far);
    peers.add(near);
    assert.equal(route(), near);
    local.add(here);
    assert.equal(route(), here);
    assert.equal(route({ prefer: "remote" }), near);
    assert.equal(route({ target: "d" }), far);
    assert.equal(route({ target: "here" }), here);
  });

  it("sends no call where it has been, nor farther than it may travel", () => {
    const { local, peers, route } = open();
    peers.add(peerOf("b", "c"));
    for (const passed of ["b", "c"]) {
      assert.throws(() => route({ route: [passed] }), { reason: "SERVICE_UNAVAILABLE" });
    }
    assert.equal(route({ route: ["x", "y"] }).collectorId, "c");
    const late = { route: ["x", "y", "z"] };
    assert.throws(() => route(late), { reason: "HOPS_EXCEEDED" });
    assert.throws(() => route({ ...late, prefer: "remote" }), { reason: "HOPS_EXCEEDED" });
    const here = fakeExecutor("h");
    local.add(here);
    assert.equal(route({ ...late, prefer: "remote" }), here);
  });

  it("passes over collectors that do not answer, also on the way to others", () => {
    const { peers, breakers, route } = open();
    const [over, direct] = [peerOf("b", "c"), peerOf("d", "e", "c")];
    peers.add(over);
    peers.add(direct);
    for (let time = 0; time < failuresMax; time += 1) breakers.failed("b");
    assert.equal(route(), direct);
    breakers.succeeded("b");
    assert.equal(route(), over);
  });
});
