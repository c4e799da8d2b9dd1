import assert from "node:assert/strict";
import { it } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { create } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { faultSeed } from "../support/fault-seed.ts";
import { Random } from "../support/random.ts";
import { ServerProcess } from "../support/server-process.ts";
import { tempFolder } from "../support/temp-folder.ts";
import { TestClient } from "../support/test-client.ts";
import { waitUntil } from "../support/wait.ts";

/** `npm run test:faults` makes more. */
const kills = 2 * Number(process.env["COLLECTOR_MESH_KILLS"] ?? 1);
const seed = faultSeed();
const filesPerRound = 40;

/** File `t<number>.proto` with so many fields; it imports the one before it, unless that is of another round. */
function fileOf(number: number, fields: number): FileDescriptorProto {
  const before = number % filesPerRound === 0 ? undefined : `t${number - 1}`;
  const names = Array.from({ length: fields }, (_, at) => `f${at + 1}`);
  return create(FileDescriptorProtoSchema, {
    name: `t${number}.proto`,
    package: "kills",
    syntax: "proto3",
    dependency: before === undefined ? [] : [`${before}.proto`],
    messageType: [
      {
        name: `T${number}`,
        field: names.map((name, at) => ({
          name,
          number: at + 1,
          label: FieldDescriptorProto_Label.OPTIONAL,
          ...(before === undefined
            ? { type: FieldDescriptorProto_Type.STRING }
            : {
                type: FieldDescriptorProto_Type.MESSAGE,
                typeName: `.kills.${before.toUpperCase()}`,
              }),
        })),
      },
    ],
  });
}

/** A collector in a process of its own, which comes back at the same address. */
class Site implements AsyncDisposable {
  readonly id: string;
  readonly folder: string;
  #port = "0";
  #server: ServerProcess | undefined;
  #client: TestClient | undefined;

  constructor(id: string, folder: string) {
    this.id = id;
    this.folder = folder;
  }

  get client(): TestClient {
    assert.ok(this.#client !== undefined, `${this.id} does not run`);
    return this.#client;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#server = await ServerProcess.start({
      dataFolder: this.folder,
      args: ["--port", this.#port],
      env: { COLLECTOR_ID: this.id, COLLECTOR_SHARED_REGISTRATIONS: "default" },
    });
    this.#port = new URL(this.#server.url).port;
    this.#client = new TestClient(this.#server.url);
  }

  async kill(): Promise<void> {
    await this.#server?.kill();
    this.#client?.[Symbol.dispose]();
    this.#client = undefined;
  }

  /** What is registered: for each file, what is in its newest version. */
  async files(): Promise<ReadonlyMap<string, string>> {
    const names: string[] = [];
    let pageToken = "";
    do {
      const page = await this.client.types.listFiles({ pageToken });
      names.push(...page.files.map(({ fileDescriptor }) => fileDescriptor?.name ?? ""));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    const read = names.map(async (name) => {
      const { file } = await this.client.types.getFile({ name });
      assert.ok(file?.fileDescriptor !== undefined, name);
      return [name, contentOf(file.fileDescriptor)] as const;
    });
    return new Map(await Promise.all(read));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}

/** What tells its versions apart, whatever the registry adds to them. */
function contentOf({ messageType }: FileDescriptorProto): string {
  return messageType
    .map(({ name, field }) => `${name}: ${field.map((each) => each.name).join()}`)
    .join();
}

it(`collectors that are killed while they share registrations agree again (${kills} kills)`, {
  timeout: 60_000 + kills * 90_000,
}, async (t) => {
  t.diagnostic(`COLLECTOR_SEED=${seed}`);
  const random = new Random(seed);
  await using folder = await tempFolder("sharing-kills");
  await using a = new Site("a", `${folder.path}/a`);
  await using b = new Site("b", `${folder.path}/b`);
  await a.start();
  await b.start();
  await a.client.dispatcher.connect({ address: b.address });
  /** Everything that was ever sent, by file. */
  const sent = new Map<string, string[]>();
  /** What was acknowledged, by file: this or something later is there. */
  const acknowledged = new Map<string, number>();
  const half: number[] = [];

  for (let kill = 0; kill < kills; kill += 1) {
    const [killed, other] = kill % 2 === 0 ? [b, a] : [a, b];
    const before = (await other.files()).size;
    const registering = (async () => {
      for (let step = 0; step < 2 * filesPerRound; step += 1) {
        const number = kill * filesPerRound + (step % filesPerRound);
        const file = fileOf(number, step < filesPerRound ? 1 : 2);
        const versions = sent.get(file.name) ?? [];
        sent.set(file.name, [...versions, contentOf(file)]);
        try {
          await a.client.registry.registerProto({ fileDescriptor: file });
        } catch (error) {
          if (killed === a) return;
          throw error;
        }
        acknowledged.set(file.name, versions.length);
      }
    })();
    await waitUntil("sharing has begun", 30_000, async () => {
      return (await b.files()).size > before;
    });
    if ((await b.files()).size < before + filesPerRound) half.push(kill);
    await sleep(random.below(150));
    await killed.kill();
    await registering;
    await killed.start();
    const after = await killed.files();
    for (const [name, content] of after) {
      assert.ok(
        sent.get(name)?.includes(content),
        `${name} with ${content} is nothing that was registered: ${sent.get(name)?.join(" or ")}`,
      );
    }
    await waitUntil("both have the same", 60_000, async () => {
      const [ours, theirs] = [await a.files(), await b.files()];
      assert.equal(ours.size, theirs.size, "as many files");
      return [...ours].every(([name, content]) => theirs.get(name) === content);
    });
    const files = await a.files();
    for (const [name, version] of acknowledged) {
      const found = sent.get(name)?.indexOf(files.get(name) ?? "") ?? -1;
      assert.ok(found >= version, `${name} is not what was acknowledged`);
    }
    for (const site of [a, b]) {
      const { connections } = await site.client.mesh.listConnections({});
      const conflicts = connections.flatMap(({ registrationConflicts }) => registrationConflicts);
      assert.deepEqual(
        conflicts.map(({ name, reason }) => `${name} ${reason}`),
        [],
      );
    }
  }
  t.diagnostic(`${half.length} of ${kills} kills came before all was shared`);
  assert.ok(half.length > 0, "no kill came in the middle: the test is blind");
});
