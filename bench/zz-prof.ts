import { benchServer } from "./bench-server.ts";
import { load } from "./load/load.ts";
const dir = process.argv[2] ?? "/tmp/prof";
const kind = (process.argv[3] ?? "get") as "get";
const server = await benchServer(dir === "none" ? {} : { nodeArgs: ["--cpu-prof", `--cpu-prof-dir=${dir}`, "--cpu-prof-interval=200"] });
await server.fill("notes", 10_000);
for (let i = 0; i < 3; i++) {
  const r = await load({ url: server.url, connections: 4, warmUpMs: 1500, runMs: 3000, flows: [{ source: { kind, collectionName: "notes", records: 10000 }, inFlight: 64 }] }, server.pid);
  console.log(r.serverCpuUsPerCall, r.clientCpuUsPerCall, r.flows[0]?.perSecond);
}
await server.stop();
await server[Symbol.asyncDispose]();
