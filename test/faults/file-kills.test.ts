import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { type Client, connect } from "../../src/client/client.ts";
import type { AttachedFile, CollectionFiles } from "../../src/client/files.ts";
import { faultSeed } from "../support/fault-seed.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

const kills = Number(process.env["COLLECTOR_FILE_KILLS"] ?? 12);
const seed = faultSeed();
const roundMsMax = 10_000;
const uploaders = 4;

/** What a name may hold: each of an upload that may have happened, or undefined for none. */
type Possible = ReadonlySet<string | undefined>;

it(`shows no half file and leaves nothing behind in ${kills} kills during uploads`, {
  timeout: kills * roundMsMax + 60_000,
}, async (t) => {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using folder = await tempFolder("file-kills");
  const start = () => ServerProcess.start({ dataFolder: folder.path });
  const possible = new Map<string, Possible>();
  let acknowledged = 0;
  let server = await start();
  try {
    using setup = new TestClient(server.url);
    await setup.registerNotes();
    await setup.createNotes("notes");
    for (let kill = 1; kill <= kills; kill += 1) {
      await using client = await connect({ url: server.url });
      const running = Array.from({ length: uploaders }, (_, uploader) =>
        work(client, random.between(1, 2 ** 30), uploader, possible),
      );
      await sleep(random.between(50, 600));
      await server.kill();
      for (const count of await Promise.all(running)) acknowledged += count;
      server = await start();
      await using checker = await connect({ url: server.url });
      await check(checker, possible, folder.path);
    }
    await server.stop();
  } finally {
    await server.kill();
  }
  assert.ok(acknowledged > 0, "nothing was uploaded");
  t.diagnostic(`${acknowledged} uploads and deletes acknowledged, 0 lost`);
});

/** Uploads and deletes until the server is gone. @returns how many were acknowledged */
async function work(
  client: Client,
  workSeed: number,
  uploader: number,
  possible: Map<string, Possible>,
): Promise<number> {
  const random = new Random(workSeed);
  const files = client.files("notes");
  for (let count = 0; ; count += 1) {
    const name = `${uploader}/${random.below(4)}`;
    const before = possible.get(name) ?? new Set([undefined]);
    try {
      if (random.below(4) === 0) {
        possible.set(name, new Set([...before, undefined]));
        await files.delete(name, { allowMissing: true });
        possible.set(name, new Set([undefined]));
      } else {
        // Few different contents, so that equal ones meet.
        const content = Buffer.alloc(random.between(0, 3) * 400_000, `${random.below(3)}`);
        const sha256 = sha256Of(content);
        possible.set(name, new Set([...before, sha256]));
        await files.put(name, content);
        possible.set(name, new Set([sha256]));
      }
    } catch {
      return count;
    }
  }
}

async function check(
  client: Client,
  possible: Map<string, Possible>,
  dataFolder: string,
): Promise<void> {
  const files = client.files("notes");
  const found = new Map<string, AttachedFile>();
  for await (const file of files.list()) found.set(file.name, file);
  let bytes = 0n;
  for (const [name, wanted] of possible) {
    const file = found.get(name);
    assert.ok(wanted.has(file?.sha256), `${name} is ${file?.sha256 ?? "missing"}`);
    possible.set(name, new Set([file?.sha256]));
    if (file === undefined) continue;
    bytes += file.sizeBytes;
    assert.equal(await hashOf(files, file), file.sha256);
  }
  assert.ok([...found.keys()].every((name) => possible.has(name)));
  const { fileCount, fileBytes } = await client.services.records.describe({
    collectionName: "notes",
  });
  assert.deepEqual([fileCount, fileBytes], [BigInt(found.size), bytes]);
  const contents = new Set(Array.from(found.values(), ({ sha256 }) => sha256));
  await waitUntil("only what has a name is on disk", 5000, async () => {
    const onDisk = await contentIn(dataFolder);
    return onDisk.length === contents.size && onDisk.every((sha256) => contents.has(sha256));
  });
}

async function hashOf(files: CollectionFiles, { name }: AttachedFile): Promise<string> {
  const hash = createHash("sha256");
  const { content } = await files.get(name);
  for await (const chunk of content) hash.update(chunk);
  return hash.digest("hex");
}

function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

async function contentIn(dataFolder: string): Promise<string[]> {
  const entries = await readdir(join(dataFolder, "stores"), {
    recursive: true,
    withFileTypes: true,
  });
  return entries
    .filter((entry) => entry.isFile() && !entry.name.startsWith("data.sqlite"))
    .map(({ name }) => name);
}
