import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { promisify } from "node:util";
import { connect } from "../../src/client/client.ts";
import { createCollector } from "../../src/server.ts";
import { machineCan } from "../support/capabilities.ts";
import { noteItem } from "../support/notes.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";

const run = promisify(execFile);

it("encrypts backups so that age decrypts them, and reads what age has encrypted", async (t) => {
  if (!machineCan("age", t)) return;
  await using folder = await tempFolder("backup-age");
  const keys = [join(folder.path, "one.txt"), join(folder.path, "two.txt")] as const;
  const backupRecipients: string[] = [];
  for (const key of keys) {
    await run("age-keygen", ["-o", key]);
    backupRecipients.push((await run("age-keygen", ["-y", key])).stdout.trim());
  }
  await using source = await createCollector({
    data: join(folder.path, "source"),
    port: 0,
    logLevel: "silent",
    backupRecipients,
  });
  using client = new TestClient(source.url);
  await client.registerNotes();
  await client.createNotes("notes");
  await client.records.create({ collectionName: "notes", id: "n1", item: noteItem(1) });
  await using files = await connect({ url: source.url });
  // More than one chunk of age's, and not a whole number of them.
  await files.files("notes").put("large", crypto.getRandomValues(new Uint8Array(50_000)));
  await files.files("notes").put("larger", crypto.getRandomValues(new Uint8Array(65_000)));
  const { backup } = await client.repo.backupCollection({
    collection: { name: "notes" },
    includeFiles: true,
  });
  const archive = join(folder.path, "source/backups", backup?.storagePath ?? "");
  const backups = join(folder.path, "target/backups");
  await mkdir(backups, { recursive: true });
  const plain = join(backups, "plain.collector");
  const again = join(backups, "again.collector");
  // Either key opens it.
  await run("age", ["-d", "-i", keys[0], "-o", plain, archive]);
  await run("age", ["-d", "-i", keys[1], "-o", again, archive]);
  assert.ok((await readFile(plain)).equals(await readFile(again)));

  await using target = await createCollector({
    data: join(folder.path, "target"),
    port: 0,
    logLevel: "silent",
    backupIdentityFile: keys[1],
  });
  using other = new TestClient(target.url);
  const backupId = backup?.backupId ?? "";
  const imported = await other.backups.importBackups({ path: "plain.collector" });
  assert.deepEqual(
    imported.backups.map(({ encrypted, backupId: id }) => [id, encrypted]),
    [[backupId, false]],
  );
  const { isValid, errorMessage } = await other.repo.verifyBackup({ backupId });
  assert.ok(isValid, errorMessage);
  await other.repo.deleteBackup({ backupId });

  const sealed = join(backups, "sealed.collector");
  await run("age", ["-r", backupRecipients[1] ?? "", "-o", sealed, again]);
  const reimported = await other.backups.importBackups({ path: "sealed.collector" });
  assert.ok(reimported.backups[0]?.encrypted, reimported.refused[0]?.reason);
  const restored = await other.repo.restoreBackup({ backupId });
  assert.deepEqual([restored.recordsRestored, restored.filesRestored], [1n, 2n]);
});
