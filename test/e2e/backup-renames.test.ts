import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { BackupMetadata } from "../../src/gen/collector/collection_repo_pb.ts";
import { Status_Code } from "../../src/gen/collector/common_pb.ts";
import { refusalOf } from "../support/refusal.ts";
import { SetServer } from "../support/set-server.ts";
import { waitUntil } from "../support/wait.ts";

/** Enough that the last is still to come when the first is made. */
const count = 30;

/** A server whose collections are backed up one after the other, by name. */
async function openServer(): Promise<SetServer> {
  const server = await SetServer.open({ limits: { copiesMax: 1 } });
  await server.client.registerNotes();
  for (let number = 10; number < 10 + count; number += 1) {
    await server.client.createNotes(`notes-${number}`);
  }
  for (const [number, name] of ["zz-one", "zz-two"].entries()) {
    await server.client.createNotes(name);
    await server.put(number, name);
  }
  return server;
}

async function firstIsMade({ client }: SetServer): Promise<void> {
  await waitUntil("the first backup is made", 20_000, async () => {
    return (await client.repo.listBackups({})).totalCount > 0n;
  });
}

async function rename({ client }: SetServer, name: string, newName: string): Promise<void> {
  await client.admin.renameCollection({ collection: { name }, newName });
}

async function swap(server: SetServer, one: string, other: string): Promise<void> {
  await rename(server, one, "on-its-way");
  await rename(server, other, one);
  await rename(server, "on-its-way", other);
}

async function idOf({ client }: SetServer, name: string): Promise<string | undefined> {
  return (await client.repo.route({ collection: { name } })).collection?.collectionId;
}

/** Names and ids of collections of the last ones. */
function lastOf(backups: readonly BackupMetadata[]): string[] {
  return backups
    .map(({ collection, collectionId }) => `${collection?.name} ${collectionId}`)
    .filter((text) => text.startsWith("zz-"))
    .sort();
}

/** Restores a set on another server. @returns names and ids of records of what was renamed */
async function restoredElsewhere(server: SetServer, setId: string): Promise<unknown> {
  await using fresh = await SetServer.open();
  await fresh.takeFolder(server);
  await fresh.client.backups.importBackups({});
  for (const { status } of await fresh.restore(setId)) {
    assert.equal(status?.code, Status_Code.OK, status?.message);
  }
  const { collections } = await fresh.client.repo.discover({ namespace: "default", pageSize: 100 });
  const names = collections.map(({ name }) => name).filter((name) => name.startsWith("zz-"));
  return await Promise.all(
    names.map(async (collectionName) => {
      const { metas } = await fresh.client.records.list({ collectionName });
      return [collectionName, metas.map(({ id }) => id)];
    }),
  );
}

describe("collections that are renamed while all are backed up", () => {
  it("are in the set, under the name that they have by then", async () => {
    await using server = await openServer();
    const ids = [await idOf(server, "zz-one"), await idOf(server, "zz-two")];
    const making = server.backUp({ namespace: "default" });
    await firstIsMade(server);
    await rename(server, "zz-one", "zz-other");
    await server.client.createNotes("zz-one");
    const { backups, setId } = await making;
    assert.deepEqual(lastOf(backups), [`zz-other ${ids[0]}`, `zz-two ${ids[1]}`]);
    assert.deepEqual(await restoredElsewhere(server, setId), [
      ["zz-other", ["n0"]],
      ["zz-two", ["n1"]],
    ]);
  });

  it("are in it once each if they swap their names, as is one that is deleted not at all", async () => {
    await using server = await openServer();
    const ids = [await idOf(server, "zz-one"), await idOf(server, "zz-two")];
    const making = server.backUp({ namespace: "default" });
    await firstIsMade(server);
    await swap(server, "zz-one", "zz-two");
    await server.client.admin.deleteCollection({ collection: { name: `notes-${9 + count}` } });
    const { backups, setId } = await making;
    assert.equal(backups.length, 1 + count - 1 + 2);
    assert.deepEqual(lastOf(backups), [`zz-one ${ids[1]}`, `zz-two ${ids[0]}`]);
    assert.deepEqual(await restoredElsewhere(server, setId), [
      ["zz-one", ["n1"]],
      ["zz-two", ["n0"]],
    ]);
  });

  it("are told of if they have the name of one that is in the set already", async () => {
    await using server = await openServer();
    const making = refusalOf(server.backUp({ namespace: "default" }));
    await firstIsMade(server);
    await swap(server, "notes-10", "zz-two");
    const { reason, message } = await making;
    assert.equal(reason, "COLLECTION_REPLACED");
    assert.match(message, /1 of the 33 backups .* default\/zz-two: .*make the set again/);
    const { backups } = await server.backUp({ namespace: "default" });
    assert.equal(backups.length, 33);
  });

  it("are backed up by a policy that has them in reach", async () => {
    await using server = await openServer();
    const ids = [await idOf(server, "zz-one"), await idOf(server, "zz-two")];
    const { backups, repo } = server.client;
    const policy = { name: "all", namespace: "default", incremental: true };
    await backups.putBackupPolicy({ policy });
    const running = backups.runBackupPolicy({ name: "all" });
    await firstIsMade(server);
    await swap(server, "zz-one", "zz-two");
    await rename(server, "zz-two", "zz-three");
    const { run } = await running;
    assert.deepEqual([run?.madeCount, run?.errors], [count + 2, []]);
    const made = await repo.listBackups({ limit: 100 });
    assert.deepEqual(lastOf(made.backups), [`zz-one ${ids[1]}`, `zz-three ${ids[0]}`]);
  });
});
