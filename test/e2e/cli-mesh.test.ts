import assert from "node:assert/strict";
import { it } from "node:test";
import { runCliHere } from "../support/cli-in-process.ts";
import { MeshNode } from "../support/mesh-node.ts";
import { waitUntil } from "../support/wait.ts";

it("collector mesh connects, lists and leaves", async () => {
  await using a = await MeshNode.start("a");
  await using b = await MeshNode.start("b");
  const collector = (line: string) =>
    runCliHere(line.split(" "), { COLLECTOR_URL: a.server.url, HOME: "/nowhere" });
  const none = await collector("mesh list");
  assert.deepEqual([none.exitCode, none.stdout, none.stderr], [0, "", "no links\n"]);
  const linked = await collector(`mesh connect ${b.address} --label note=first`);
  assert.equal(linked.exitCode, 0, linked.stderr);
  assert.match(linked.stdout, /^linked to b \([\d.]+ ms\), shares: default\n$/);
  const listed = await collector("mesh list -o json");
  const [link] = JSON.parse(listed.stdout) as readonly Record<string, unknown>[];
  assert.deepEqual(
    { ...link, id: "", roundTripMs: 0, lastActivity: "" },
    {
      id: "",
      collectorId: "b",
      address: b.address,
      state: "up",
      problem: "",
      dials: true,
      sharedNamespaces: ["default"],
      sharedRegistrations: [],
      registrationConflictCount: 0,
      registrationConflicts: [],
      labels: { note: "first" },
      roundTripMs: 0,
      callsInFlight: 0,
      reconnects: 0,
      lastActivity: "",
    },
  );
  assert.match((await collector("mesh list")).stdout, /COLLECTOR.*\n.* b .* up .* default/);
  const shared = await collector("mesh share b default");
  assert.deepEqual([shared.exitCode, shared.stdout], [0, "shares with b: default\n"]);
  assert.match((await collector("mesh list")).stdout, /REGISTRATIONS.*\n.* nothing/);
  await b.client.mesh.shareRegistrations({
    connectionId: (await b.links())[0]?.connection?.id ?? "",
    namespaces: ["default"],
  });
  await waitUntil("both share", 10_000, async () => {
    const [each] = await a.links();
    return each?.sharedRegistrations.join() === "default";
  });
  const again = await collector(`mesh connect ${b.address} --share other`);
  assert.equal(again.exitCode, 0, again.stderr);
  assert.deepEqual((await a.links())[0]?.connection?.sharesRegistrations, ["default", "other"]);
  const wrong = await collector("mesh leave c");
  assert.equal(wrong.exitCode, 3);
  const left = await collector("mesh leave b");
  assert.deepEqual([left.exitCode, left.stdout], [0, "left b\n"]);
  await b.linkedTo();
  const self = await collector(`mesh connect ${a.address}`);
  assert.equal(self.exitCode, 1, self.stderr);
  const away = await collector("mesh connect 127.0.0.1:9");
  assert.equal(away.exitCode, 6, away.stderr);
});
