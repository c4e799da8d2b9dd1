import { randomUUID } from "node:crypto";
import { accessSync, constants, existsSync, readFileSync, statSync } from "node:fs";
import { open, rm, statfs } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { dirname, join, resolve } from "node:path";
import type { Config } from "../../config.ts";
import { defaultLimits } from "../../lib/limits.ts";
import { formatBytes } from "../output.ts";
import { type Finding, failed, fine, warning } from "./check.ts";

const nodeMajorMin = 24;
const sqliteMin = [3, 53, 2] as const;

/** A commit waits for one of these; above it, single writes are slow. */
const syncMsHigh = 20;
const syncTries = 20;

/** Each open collection holds three files, each connection one. */
const openFilesLow = 4096;

/** How long a peer may take to accept a connection. */
const peerMs = 3000;

/** Whether this Node can run a server. */
export function checkVersions(): readonly Finding[] {
  const { node, sqlite = "0" } = process.versions;
  const isNodeNew = Number(node.split(".")[0]) >= nodeMajorMin;
  const wanted = sqliteMin.join(".");
  return [
    isNodeNew ? fine("Node", node) : failed("Node", node, `install Node ${nodeMajorMin} or later`),
    isAtLeast(sqlite, sqliteMin)
      ? fine("SQLite", sqlite)
      : failed(
          "SQLite",
          sqlite,
          `a Node with SQLite ${wanted} or later; this one's can corrupt data`,
        ),
  ];
}

function isAtLeast(version: string, min: readonly number[]): boolean {
  const parts = version.split(".").map(Number);
  for (const [index, wanted] of min.entries()) {
    const part = parts[index] ?? 0;
    if (part !== wanted) return part > wanted;
  }
  return true;
}

/** Whether the port can be listened on; in use is fine if a collector is who listens. */
export async function checkPort(
  { host, port }: Config,
  isCollectorThere: boolean,
): Promise<Finding> {
  const name = "Port";
  if (isCollectorThere) return fine(name, `${host}:${port}, a collector listens`);
  const server = createServer();
  const { promise, resolve: settle } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  server.once("error", settle);
  server.listen({ host, port }, () => settle(undefined));
  const error = await promise;
  if (server.listening) await new Promise((done) => server.close(done));
  if (error === undefined) return fine(name, `${host}:${port} is free`);
  if (error.code === "EADDRINUSE") {
    return failed(name, `${host}:${port} is taken by another program`, "start with another --port");
  }
  if (error.code === "EACCES") {
    return failed(name, `${port} needs privileges`, "start with a --port from 1024 up");
  }
  return failed(name, `${host}: ${error.message}`, "start with another --host");
}

/** Whether the data folder can be written, how much room it has, and how fast its disk is. */
export async function checkData({ data }: Config): Promise<readonly Finding[]> {
  const path = resolve(data);
  const folder = existingParent(path);
  const isThere = folder === path;
  if (!statSync(folder).isDirectory()) {
    return [failed("Data folder", `${folder} is no folder`, "name another with --data")];
  }
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
  } catch {
    const mend = "let this user write there, or name another folder with --data";
    return [failed("Data folder", `${folder} cannot be written`, mend)];
  }
  const found = fine("Data folder", isThere ? path : `${path}, made at the first start`);
  return [found, await checkRoom(folder), await checkSync(folder)];
}

async function checkRoom(folder: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(folder);
  const free = bavail * bsize;
  const detail = `${formatBytes(BigInt(free))} free`;
  const reserve = defaultLimits.diskReserveBytes;
  if (free < reserve) {
    return failed(
      "Disk",
      detail,
      `free some: below ${formatBytes(BigInt(reserve))} writes are refused`,
    );
  }
  if (free < 16 * reserve) return warning("Disk", detail, "free some soon");
  return fine("Disk", detail);
}

async function checkSync(folder: string): Promise<Finding> {
  const path = join(folder, `.doctor-${randomUUID()}`);
  const times: number[] = [];
  const file = await open(path, "wx");
  try {
    const page = Buffer.alloc(4096, 1);
    for (let at = 0; at < syncTries; at += 1) {
      await file.write(page, 0, page.length, at * page.length);
      const startMs = performance.now();
      await file.datasync();
      times.push(performance.now() - startMs);
    }
  } finally {
    await file.close();
    await rm(path, { force: true });
  }
  times.sort((a, b) => a - b);
  const ms = times[Math.floor(times.length / 2)] ?? 0;
  const detail = `${ms.toFixed(2)} ms for a sync`;
  if (ms <= syncMsHigh) return fine("Disk sync", detail);
  return warning("Disk sync", detail, "a faster disk; or create collections with --relaxed");
}

/** How many files this user may have open. */
export function checkOpenFiles(): Finding {
  const limits = "/proc/self/limits";
  if (!existsSync(limits)) return fine("Open files", "not known on this system");
  const match = /^Max open files\s+(\S+)/m.exec(readFileSync(limits, "utf8"));
  const text = match?.[1] ?? "";
  if (text === "unlimited" || Number(text) >= openFilesLow) return fine("Open files", text);
  return warning("Open files", text, `\`ulimit -n ${openFilesLow}\`, or LimitNOFILE of the unit`);
}

/** Whether the configured peers accept connections. */
export async function checkPeers({ peers }: Config): Promise<readonly Finding[]> {
  return await Promise.all(peers.map(checkPeer));
}

async function checkPeer(peer: string): Promise<Finding> {
  const match = /^(?:https?:\/\/)?\[?([^\]/*]+?)\]?:(\d+)$/.exec(peer);
  const name = `Peer ${peer}`;
  const [, host, port] = match ?? [];
  if (host === undefined || port === undefined) return fine(name, "allowed; nothing to try");
  const socket = connect({ host, port: Number(port), timeout: peerMs });
  const { promise, resolve: settle } = Promise.withResolvers<string>();
  socket.once("connect", () => settle(""));
  socket.once("timeout", () => settle(`no answer in ${peerMs} ms`));
  socket.once("error", (error) => settle(error.message));
  const problem = await promise;
  socket.destroy();
  if (problem === "") return fine(name, "accepts connections");
  return warning(name, problem, "start it, or open the way to it; until then links to it are down");
}

function existingParent(path: string): string {
  return existsSync(path) ? path : existingParent(dirname(path));
}
