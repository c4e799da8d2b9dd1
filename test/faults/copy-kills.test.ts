import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { readdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import { connect } from "../../src/client/client.ts";
import { RequestOpSchema } from "../../src/gen/collector/collection_server_pb.ts";
import type { Operation } from "../../src/gen/collector/operations_pb.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { encodeNote, noteOf, noteTypeName } from "../support/notes.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

/** Kills in each phase that a copy tells of; `npm run test:faults` makes more, and in more ways. */
const killsPerPhase = Number(process.env["COLLECTOR_COPY_KILLS"] ?? 1);
const isFullSweep = process.env["COLLECTOR_COPY_KILLS"] !== undefined;
/** How long after a phase began the kill comes, at most, in ms. */
const intoPhaseMs = 60;
/** Tries until a copy is met in a phase that is over in a moment. */
const triesPerKill = 6;
const records = 3_000;
/** What does not shrink, so that it takes a while from server to server. */
const fileBytes = 24_000_000;
const seed = faultSeed();

/** Two servers, the second of which knows the first; either may be killed at any moment. */
class Pair implements AsyncDisposable {
  readonly #folders: readonly TempFolder[];
  readonly #servers: (ServerProcess | undefined)[] = [];
  readonly #clients: (TestClient | undefined)[] = [];

  private constructor(folders: readonly TempFolder[]) {
    this.#folders = folders;
  }

  static async open(): Promise<Pair> {
    const names = ["copy-kills", "copy-kills", "copy-kills-config"];
    const pair = new Pair(await Promise.all(names.map((name) => tempFolder(name))));
    // What the other side has staged goes soon, so that it can be seen to go.
    await writeFile(pair.#config, "limits: { transferIdleMs: 2000 }");
    for (const at of [0, 1]) await pair.start(at);
    return pair;
  }

  client(at: number): TestClient {
    const client = this.#clients[at];
    assert.ok(client);
    return client;
  }

  url(at: number): string {
    return this.#servers[at]?.url ?? "";
  }

  folder(at: number): string {
    return this.#folders[at]?.path ?? "";
  }

  get #config(): string {
    return join(this.folder(2), "collector.yaml");
  }

  async start(at: number): Promise<void> {
    const args = ["--config", this.#config];
    const server = await ServerProcess.start({ dataFolder: this.folder(at), args });
    this.#servers[at] = server;
    this.#clients[at] = new TestClient(server.url);
  }

  async kill(at: number): Promise<void> {
    await this.#servers[at]?.kill();
    this.#clients[at]?.[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const at of [0, 1]) await this.kill(at);
    for (const folder of this.#folders) await folder[Symbol.asyncDispose]();
  }
}

interface Copying {
  /** What its operation tells of, in this order. */
  readonly phases: readonly string[];
  /** Those of the other server that may be seen here, too short to aim at: a clone from there is killed in them. */
  readonly otherPhases?: readonly string[];
  /** Whose operation tells how far the copy is. */
  readonly runsOn: number;
  readonly killed: number;
  /** Begins the copy, whose operation is answered. */
  begin(pair: Pair): Promise<Operation | undefined>;
  /** What has to be true after the restart, whenever the kill came. */
  check(pair: Pair): Promise<void>;
}

const source = { namespace: "default", name: "notes" };
const toCopied = {
  sourceCollection: source,
  destName: "copied",
  includeFiles: true,
  returnImmediately: true,
};

/** Folders that archives were to be put in, and those of them that one has come into. */
const archiveFolders = { asked: 0, used: new Set<string>() };

const copies: Readonly<Record<string, Copying>> = {
  backup: {
    phases: ["copying", "packing"],
    runsOn: 0,
    killed: 0,
    async begin(pair) {
      archiveFolders.asked += 1;
      const destPath = `kills/${archiveFolders.asked}/archive`;
      const request = { collection: source, includeFiles: true, destPath, returnImmediately: true };
      return (await pair.client(0).repo.backupCollection(request)).operation;
    },
    async check(pair) {
      const { backups } = await pair.client(0).repo.listBackups({});
      const [newest, ...older] = backups;
      if (newest !== undefined) {
        const { isValid, errorMessage } = await pair
          .client(0)
          .repo.verifyBackup({ backupId: newest.backupId });
        assert.ok(isValid, errorMessage);
      }
      for (const { backupId } of older) await pair.client(0).repo.deleteBackup({ backupId });
      for (const { storagePath } of backups) archiveFolders.used.add(dirname(storagePath));
      const listed = newest === undefined ? 0 : 1;
      const onDisk = await filesIn(join(pair.folder(0), "backups"));
      assert.equal(onDisk.length, listed, `left in the backup folder: ${onDisk.join(", ")}`);
      for (const number of await namesIn(join(pair.folder(0), "backups/kills"))) {
        const isUsed = archiveFolders.used.has(`kills/${number}`);
        assert.ok(isUsed, `left in the backup folder: kills/${number}, into which nothing came`);
      }
    },
  },
  "restore over a collection": {
    phases: ["unpacking", "verifying", "installing"],
    runsOn: 0,
    killed: 0,
    async begin(pair) {
      const { repo } = pair.client(0);
      const { backups } = await repo.listBackups({ collection: source });
      const backupId =
        backups[0]?.backupId ??
        (await repo.backupCollection({ collection: source, includeFiles: true })).backup?.backupId;
      const request = {
        backupId: backupId ?? "",
        destName: "restored",
        overwrite: true,
        returnImmediately: true,
      };
      return (await repo.restoreBackup(request)).operation;
    },
    check: (pair) => checkCopy(pair, 0, "restored"),
  },
  clone: {
    phases: ["copying", "installing"],
    runsOn: 0,
    killed: 0,
    async begin(pair) {
      const { repo, admin } = pair.client(0);
      await admin.deleteCollection({ collection: { name: "cloned" }, allowMissing: true });
      const request = { sourceCollection: source, destName: "cloned", includeFiles: true };
      return (await repo.clone({ ...request, returnImmediately: true })).operation;
    },
    check: (pair) => checkCopy(pair, 0, "cloned"),
  },
  "clone to another server, killed at the receiver": cloneAway(1),
  "fetch from another server, killed at the receiver": fetchFrom(1),
  ...(isFullSweep && {
    "clone to another server, killed at the sender": cloneAway(0),
    "fetch from another server, killed at the sender": fetchFrom(0),
  }),
};

function cloneAway(killed: number): Copying {
  return {
    phases: ["copying", "packing", "sending", "verifying"],
    runsOn: 0,
    killed,
    async begin(pair) {
      await dropCopied(pair);
      const destEndpoint = pair.url(1);
      const { operation } = await pair.client(0).repo.clone({ ...toCopied, destEndpoint });
      return operation;
    },
    check: (pair) => checkCopy(pair, 1, "copied"),
  };
}

function fetchFrom(killed: number): Copying {
  return {
    otherPhases: ["packing"],
    phases: ["copying", "receiving", "unpacking", "verifying", "installing"],
    runsOn: 1,
    killed,
    async begin(pair) {
      await dropCopied(pair);
      const sourceEndpoint = pair.url(0);
      const { operation } = await pair.client(1).repo.fetch({ ...toCopied, sourceEndpoint });
      return operation;
    },
    check: (pair) => checkCopy(pair, 1, "copied"),
  };
}

async function dropCopied(pair: Pair): Promise<void> {
  const request = { collection: { name: "copied" }, allowMissing: true };
  await pair.client(1).admin.deleteCollection(request);
}

describe("a copy whose server is killed", () => {
  for (const [name, copying] of Object.entries(copies)) {
    it(
      `leaves the old state or the new one, and nothing else: ${name}`,
      {
        timeout: 1_200_000,
      },
      (t) => killDuring(copying, t),
    );
  }
});

async function killDuring(copying: Copying, t: TestContext): Promise<void> {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using pair = await Pair.open();
  await fill(pair);
  const phases = new Map(copying.phases.map((phase) => [phase, 0]));
  // Once undisturbed, to learn how long each phase takes.
  const { phasesMs } = await watchToEnd(pair, copying);
  const known = new Set([...copying.phases, ...(copying.otherPhases ?? [])]);
  const unknown = [...phasesMs.keys()].filter((phase) => !known.has(phase));
  assert.deepEqual(unknown, [], "phases that no kill would be aimed at");
  await copying.check(pair);
  let kills = 0;
  for (const wanted of copying.phases) {
    // What was not even seen is over in a moment.
    const latestMs = Math.min(Math.ceil(phasesMs.get(wanted) ?? 1), intoPhaseMs);
    for (let tries = 0; tries < killsPerPhase * triesPerKill; tries += 1) {
      if ((phases.get(wanted) ?? 0) >= killsPerPhase) break;
      kills += 1;
      const operation = await copying.begin(pair);
      const phase = await phaseAfter(pair, copying, operation, wanted, random.below(latestMs));
      await pair.kill(copying.killed);
      phases.set(phase, (phases.get(phase) ?? 0) + 1);
      await pair.start(copying.killed);
      await settle(pair, copying, operation);
      await copying.check(pair);
      await checkFolders(pair);
    }
  }
  const after = await watchToEnd(pair, copying);
  assert.equal(after.operation?.result.case, "response", "the next try works");
  await copying.check(pair);
  const counted = [...phases].map(([phase, count]) => `${phase} ${count}`).join(", ");
  t.diagnostic(`${kills} kills: ${counted}`);
  if (isFullSweep) {
    const missed = copying.phases.filter((phase) => (phases.get(phase) ?? 0) < killsPerPhase);
    assert.deepEqual(missed, [], `phases with fewer than ${killsPerPhase} kills`);
  }
}

/** Waits until what goes on with the copy, if the server that runs it lives, has ended. */
async function settle(
  pair: Pair,
  copying: Copying,
  operation: Operation | undefined,
): Promise<void> {
  const { operations } = pair.client(copying.runsOn);
  const name = operation?.name ?? "";
  if (copying.runsOn !== copying.killed) {
    // The other side has another port now: nobody goes on with it there.
    await operations.cancelOperation({ name });
  }
  await operations.waitOperation({ name, timeout: { seconds: 15n, nanos: 0 } });
}

/** @returns how long each phase took, as far as asking again and again shows */
async function watchToEnd(
  pair: Pair,
  copying: Copying,
): Promise<{ readonly phasesMs: Map<string, number>; operation: Operation | undefined }> {
  let operation = await copying.begin(pair);
  const phasesMs = new Map<string, number>();
  const { operations } = pair.client(copying.runsOn);
  let sinceMs = performance.now();
  while (operation?.done === false) {
    const { phase } = operation;
    operation = await operations.getOperation({ name: operation.name });
    const nowMs = performance.now();
    if (phase !== "") phasesMs.set(phase, (phasesMs.get(phase) ?? 0) + nowMs - sinceMs);
    sinceMs = nowMs;
  }
  assert.equal(
    operation?.result.case,
    "response",
    operation?.result.case === "error" ? operation.result.value.message : "",
  );
  return { phasesMs, operation };
}

/** Lets a copy come to a phase, and go on for so long. @returns what it was doing last */
async function phaseAfter(
  pair: Pair,
  copying: Copying,
  begun: Operation | undefined,
  wanted: string,
  ms: number,
): Promise<string> {
  const { operations } = pair.client(copying.runsOn);
  const name = begun?.name ?? "";
  let operation = begun;
  while (operation?.done === false && operation.phase !== wanted) {
    operation = await operations.getOperation({ name });
  }
  if (ms > 0) await sleep(ms);
  const { phase, done } = await operations.getOperation({ name });
  return done ? "ended" : phase;
}

async function fill(pair: Pair): Promise<void> {
  const client = pair.client(0);
  await client.registerNotes();
  await client.createNotes("notes", { indexedFields: ["price_cents"] });
  for (let first = 0; first < records; first += 1000) {
    const operations = Array.from({ length: 1000 }, (_, index) => {
      const number = first + index;
      const item = {
        typeUrl: `type.googleapis.com/${noteTypeName}`,
        value: encodeNote(noteOf(number)),
      };
      const operation = { case: "create", value: { id: `n${number}`, item } } as const;
      return create(RequestOpSchema, { operation });
    });
    await client.records.batch({ collectionName: "notes", operations });
  }
  await using files = await connect({ url: pair.url(0) });
  await files.files("notes").put("large", randomBytes(fileBytes));
}

/** The copy is not there, or whole. */
async function checkCopy(pair: Pair, at: number, name: string): Promise<void> {
  const client = pair.client(at);
  const { collections } = await client.repo.discover({ namespace: "default" });
  if (!collections.some((collection) => collection.name === name)) return;
  const { recordCount, fileCount } = await client.records.describe({ collectionName: name });
  assert.deepEqual([recordCount, fileCount], [BigInt(records), 1n]);
  const { items } = await client.records.list({ collectionName: name, pageSize: 1000 });
  assert.equal(items.length, 1000);
  await using files = await connect({ url: pair.url(at) });
  let bytes = 0;
  for await (const chunk of (await files.files(name).get("large")).content) bytes += chunk.length;
  assert.equal(bytes, fileBytes);
}

/** Nothing is left over: no store that nobody names, nothing staged. */
async function checkFolders(pair: Pair): Promise<void> {
  for (const at of [0, 1]) {
    await waitUntil("only what is named is on disk", 30_000, async () => {
      // A copy whose sender is gone may become a collection yet.
      const { collections } = await pair.client(at).repo.discover({});
      const named = new Set(collections.map(({ collectionId }) => collectionId));
      const stores = (await readdir(join(pair.folder(at), "stores"))).filter(
        (store) => !store.startsWith("system-"),
      );
      return stores.every((store) => named.has(store));
    });
    // A push that was cut may be gone on with for a while: that is the only thing to stay so long.
    await waitUntil("nothing is staged", 20_000, async () => {
      return (await filesIn(join(pair.folder(at), "transfers"))).length === 0;
    });
  }
}

async function namesIn(folder: string): Promise<string[]> {
  return await readdir(folder).catch(() => []);
}

async function filesIn(folder: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  } catch {
    return [];
  }
}
