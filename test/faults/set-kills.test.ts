import assert from "node:assert/strict";
import { cp, readdir } from "node:fs/promises";
import { join } from "node:path";
import { describe, it, type TestContext } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { connect } from "../../src/client/client.ts";
import type { Operation } from "../../src/gen/collector/operations_pb.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { fillServer, stateOf } from "../support/set-server.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

/** Kills of each, two at least; `npm run test:faults` makes more. */
const kills = 2 * Number(process.env["COLLECTOR_COPY_KILLS"] ?? 1);
const seed = faultSeed();
/** Of the time that the first one took, cold: what comes later is often the end already. */
const killedShare = 0.6;
const recordsPerCollection = 800;

/** A server in a process of its own, which can be killed and started again. */
class Killable implements AsyncDisposable {
  readonly folder: TempFolder;
  #server: ServerProcess | undefined;
  #client: TestClient | undefined;

  private constructor(folder: TempFolder) {
    this.folder = folder;
  }

  static async open(): Promise<Killable> {
    const killable = new Killable(await tempFolder("set-kills"));
    await killable.start();
    return killable;
  }

  get client(): TestClient {
    assert.ok(this.#client);
    return this.#client;
  }

  get url(): string {
    return this.#server?.url ?? "";
  }

  get backups(): string {
    return join(this.folder.path, "backups");
  }

  async start(): Promise<void> {
    this.#server = await ServerProcess.start({ dataFolder: this.folder.path });
    this.#client = new TestClient(this.#server.url, { timeoutMs: 60_000 });
  }

  async kill(): Promise<void> {
    await this.#server?.kill();
    this.#client?.[Symbol.dispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
    await this.folder[Symbol.asyncDispose]();
  }
}

describe("a server that is killed", () => {
  it("while it backs up all of itself, has whole backups and nothing else", async (t) => {
    const random = begin(t);
    await using server = await Killable.open();
    await fillServer(server.client, server.url, recordsPerCollection);
    const phases = new Map<string, number>();
    const startBackup = async (): Promise<Operation | undefined> =>
      (await server.client.backups.backupServer({ returnImmediately: true })).operation;
    const tookMs = await timeOf(server.client, startBackup);
    await checkBackups(server);
    for (let kill = 0; kill < kills; kill += 1) {
      await killAfter(server, await startBackup(), random.below(tookMs * killedShare), phases);
      await server.start();
      await checkBackups(server);
    }
    await timeOf(server.client, startBackup);
    assert.equal(await checkBackups(server), 4, "the next try works");
    tell(t, phases);
  });

  it("while it restores all of another one, has whole collections, and restores the rest then", async (t) => {
    const random = begin(t);
    await using source = await Killable.open();
    await fillServer(source.client, source.url, recordsPerCollection);
    const before = await stateOf(source.client);
    const { setId } = await source.client.backups.backupServer({});
    const phases = new Map<string, number>();
    let tookMs = 0;
    // The first is not killed.
    for (let kill = 0; kill <= kills; kill += 1) {
      await using target = await Killable.open();
      await cp(source.backups, target.backups, { recursive: true });
      await target.client.backups.importBackups({});
      const request = { setId, returnImmediately: true };
      const startRestore = async (): Promise<Operation | undefined> =>
        (await target.client.backups.restoreServer(request)).operation;
      if (kill === 0) {
        tookMs = await timeOf(target.client, startRestore);
      } else {
        await killAfter(target, await startRestore(), random.below(tookMs * killedShare), phases);
        await target.start();
        await checkCollections(target.client);
        const { restored } = await target.client.backups.restoreServer({ setId, overwrite: true });
        assert.deepEqual(
          restored.map(({ status }) => status?.message),
          ["", "", "", ""],
        );
      }
      assert.deepEqual(await stateOf(target.client), before);
    }
    tell(t, phases);
  });
});

describe("a server to which archives are sent, and that is killed", () => {
  it("has each of them whole or not at all, and takes them all then", async (t) => {
    const random = begin(t);
    await using source = await Killable.open();
    await fillServer(source.client, source.url, recordsPerCollection);
    const before = await stateOf(source.client);
    const { setId, backups } = await source.client.backups.backupServer({});
    const paths = backups.map(({ storagePath }) => join(source.backups, storagePath));
    const sendAll = async ({ url }: Killable, signal?: AbortSignal): Promise<void> => {
      await using client = await connect({ url });
      const options = signal === undefined ? {} : { signal };
      for (const path of paths) await client.backups.keepArchive(path, options);
    };
    const phases = new Map<string, number>();
    let tookMs = 0;
    // The first is not killed.
    for (let kill = 0; kill <= kills; kill += 1) {
      await using target = await Killable.open();
      const beganMs = performance.now();
      const stop = new AbortController();
      const sending = sendAll(target, stop.signal);
      if (kill === 0) {
        await sending;
        tookMs = performance.now() - beganMs;
      } else {
        const ended = sending.then(
          () => "all were sent",
          () => "cut",
        );
        await sleep(random.below(tookMs));
        const { backups: there } = await target.client.repo.listBackups({ limit: 1000 });
        await target.kill();
        // It would go on with a server that comes back at the same place.
        stop.abort();
        const seen = `${await ended} after ${there.length}`;
        phases.set(seen, (phases.get(seen) ?? 0) + 1);
        await target.start();
        await checkBackups(target);
        await sendAll(target);
      }
      const { restored } = await target.client.backups.restoreServer({ setId });
      assert.deepEqual(
        restored.map(({ status }) => status?.message),
        ["", "", "", ""],
      );
      assert.deepEqual(await stateOf(target.client), before);
      assert.equal(await checkBackups(target), backups.length);
    }
    tell(t, phases);
  });
});

function begin(t: TestContext): Random {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  return new Random(seed);
}

function tell(t: TestContext, phases: ReadonlyMap<string, number>): void {
  const counted = [...phases].map(([phase, count]) => `${phase} ${count}`).join(", ");
  t.diagnostic(`${kills} kills: ${counted}`);
}

/** Lets an operation run to its end. @returns how long that took, in ms */
async function timeOf(
  client: TestClient,
  start: () => Promise<Operation | undefined>,
): Promise<number> {
  const beganMs = performance.now();
  const { name = "" } = (await start()) ?? {};
  const { result } = await client.operations.waitOperation({ name });
  assert.equal(result.case, "response", result.case === "error" ? result.value.message : "");
  return Math.ceil(performance.now() - beganMs);
}

async function killAfter(
  server: Killable,
  operation: Operation | undefined,
  ms: number,
  phases: Map<string, number>,
): Promise<void> {
  await sleep(ms);
  const { name = "" } = operation ?? {};
  const { phase, done } = await server.client.operations.getOperation({ name });
  await server.kill();
  const seen = done ? "ended" : phase;
  phases.set(seen, (phases.get(seen) ?? 0) + 1);
}

/** Every backup is whole, and nothing lies beside them; then they are removed. @returns how many there were */
async function checkBackups({ client, backups: folder }: Killable): Promise<number> {
  const { backups } = await client.repo.listBackups({ limit: 1000 });
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  assert.equal(files.length, backups.length, `in the backup folder: ${files.join(", ")}`);
  for (const { backupId } of backups) {
    const { isValid, errorMessage } = await client.repo.verifyBackup({ backupId });
    assert.ok(isValid, errorMessage);
    await client.repo.deleteBackup({ backupId });
  }
  assert.deepEqual(await readdir(folder), [], "folders of sets go with their backups");
  return backups.length;
}

/** What is there of a collection is all of it. */
async function checkCollections(client: TestClient): Promise<void> {
  const { collections } = await client.repo.discover({});
  for (const { namespace, name: collectionName } of collections) {
    if (namespace === "system") continue;
    const { recordCount } = await client.records.describe({ namespace, collectionName });
    const wanted = collectionName === "prices" ? 1 : recordsPerCollection;
    assert.equal(recordCount, BigInt(wanted), collectionName);
  }
}
