import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { create } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { ConnectionSchema } from "../../gen/collector/dispatcher_pb.ts";
import { defaultLimits } from "../../lib/limits.ts";
import type { Log } from "../../lib/log.ts";
import { ManualScheduler } from "../links/testing/manual-scheduler.ts";
import { RegistrationSharing, type SharingLink } from "./registration-sharing.ts";
import { namespace, SharingNode } from "./testing/sharing-net.ts";

const one = (...messages: readonly string[]) =>
  create(FileDescriptorProtoSchema, {
    name: "one.proto",
    package: "p",
    syntax: "proto3",
    messageType: messages.map((name) => ({ name })),
  });

/** Collector a, which follows b over one link. */
class Scene {
  readonly scheduler: ManualScheduler = new ManualScheduler();
  readonly a: SharingNode;
  readonly b: SharingNode;
  readonly logged: string[] = [];
  readonly sharing: RegistrationSharing;
  isUp = true;
  isShared = true;
  links: readonly SharingLink[];

  private constructor(a: SharingNode, b: SharingNode) {
    this.a = a;
    this.b = b;
    const log = (_fields: object, message: string): void => {
      this.logged.push(message);
    };
    const said: Log = { debug: log, info: log, warn: log, error: log };
    const states = { isUp: () => this.isUp, isShared: () => this.isShared };
    this.links = [
      {
        id: "link",
        peerId: "b",
        connection: create(ConnectionSchema, { sharesRegistrations: [namespace] }),
        get isUp() {
          return states.isUp();
        },
        channel: b.channel,
        get sharedByPeer() {
          const digest = b.registry.exchange.digest(namespace);
          return new Map(states.isShared() ? [[namespace, digest]] : []);
        },
      },
    ];
    this.sharing = new RegistrationSharing({
      exchange: a.registry.exchange,
      collectorId: "a",
      namespaces: [],
      links: () => this.links,
      limits: defaultLimits,
      scheduler: this.scheduler,
      nowMs: () => 0,
      log: said,
    });
  }

  static async open(): Promise<Scene> {
    return new Scene(await SharingNode.open("a"), await SharingNode.open("b"));
  }

  get link(): SharingLink {
    const [link] = this.links;
    assert.ok(link !== undefined);
    return link;
  }

  /** The other end tells of itself. */
  async follow(): Promise<void> {
    this.sharing.follow(this.link);
    await this.advance(1000);
  }

  async advance(ms: number): Promise<void> {
    for (let left = ms; left > 0; left -= 100) {
      await this.scheduler.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  get conflicts(): string[] {
    const { registrationConflicts } = this.sharing.viewOf(this.link);
    return registrationConflicts.map(({ name, reason }) => `${name} ${reason}`);
  }
}

describe("The sharing of registrations", () => {
  it("takes over what an offer tells of, as long as the link is up and both ends share", async () => {
    const scene = await Scene.open();
    await scene.b.register(one("A"));
    scene.isUp = false;
    await scene.follow();
    scene.isUp = true;
    scene.isShared = false;
    await scene.follow();
    assert.deepEqual(scene.a.list(), []);
    scene.isShared = true;
    await scene.follow();
    assert.deepEqual(scene.a.list(), ["file one.proto@1"]);
    assert.equal(scene.sharing.takenCount, 1);
    assert.deepEqual(scene.sharing.viewOf(scene.link).sharedRegistrations, [namespace]);
  });

  it("logs a conflict once, and shows it until it is over", async () => {
    const scene = await Scene.open();
    await scene.a.register(one("A"));
    await scene.b.register(one("B"));
    await scene.follow();
    assert.deepEqual(scene.conflicts, ["one.proto ALTERED_AT_BOTH_ENDS"]);
    await scene.advance(20_000);
    await scene.follow();
    assert.deepEqual(scene.logged, ["a registration is in conflict"]);
    await scene.a.register(one("A", "B"));
    scene.sharing.changed(namespace);
    await scene.advance(1000);
    assert.deepEqual(scene.conflicts, []);
    assert.equal(scene.sharing.conflictCount("link"), 0);
    assert.equal(scene.logged.at(-1), "conflicts of registrations are resolved");
  });

  it("tries again what was in use, without being told", async () => {
    const scene = await Scene.open();
    await scene.b.register(one("A"));
    await scene.follow();
    await scene.b.registry.unregisterFile(namespace, "one.proto", false);
    scene.a.use("things", "p.A");
    await scene.follow();
    assert.deepEqual(scene.conflicts, ["one.proto REMOVED_AT_PEER"]);
    scene.a.disuse("things");
    await scene.advance(6000);
    assert.deepEqual([scene.conflicts, scene.a.list()], [[], []]);
  });

  it("forgets conflicts where one end does not share any more, and of links that are gone", async () => {
    const scene = await Scene.open();
    await scene.a.register(one("A"));
    await scene.b.register(one("B"));
    await scene.follow();
    assert.equal(scene.conflicts.length, 1);
    scene.isShared = false;
    await scene.follow();
    assert.deepEqual(scene.conflicts, []);
    scene.isShared = true;
    await scene.b.register(one("B", "C"));
    await scene.follow();
    assert.equal(scene.conflicts.length, 1);
    const { link } = scene;
    scene.links = [];
    scene.sharing.linksChanged();
    assert.equal(scene.sharing.conflictCount(link.id), 0);
  });

  it("stops at once, and nothing follows", async () => {
    const scene = await Scene.open();
    await scene.b.register(one("A"));
    scene.sharing.follow(scene.link);
    await scene.sharing[Symbol.asyncDispose]();
    assert.equal(scene.scheduler.pending, 0);
    await scene.follow();
    assert.deepEqual(scene.a.list(), []);
  });

  it("reports that the other end cannot be asked, and asks again", async () => {
    const { scene, mend } = await failing();
    mend();
    await scene.advance(6000);
    assert.deepEqual([scene.conflicts, scene.a.list()], [[], ["file one.proto@1"]]);
  });

  it("asks again when a link is back that went down while it asked, and no offer was there at first", async () => {
    const { scene, mend } = await failing();
    scene.isShared = false;
    await scene.follow();
    assert.deepEqual(scene.conflicts, []);
    mend();
    scene.isShared = true;
    await scene.follow();
    assert.deepEqual([scene.conflicts, scene.a.list()], [[], ["file one.proto@1"]]);
  });
});

/** A scene that was followed over a link on which nothing sensible comes until it is mended. */
async function failing(): Promise<{ readonly scene: Scene; readonly mend: () => void }> {
  const scene = await Scene.open();
  await scene.b.register(one("A"));
  let isBroken = true;
  const channel = {
    ...scene.b.channel,
    stream: (...args: Parameters<typeof scene.b.channel.stream>) => {
      const answer = scene.b.channel.stream(...args);
      if (!isBroken) return answer;
      const messages = (async function* (): AsyncGenerator<Uint8Array, undefined> {
        yield await Promise.resolve(Buffer.from([255]));
      })();
      return { ...answer, messages };
    },
  };
  scene.links = [Object.create(scene.link, { channel: { value: channel } }) as SharingLink];
  await scene.follow();
  assert.deepEqual(scene.conflicts, [" PULL_FAILED"]);
  const mend = (): void => {
    isBroken = false;
  };
  return { scene, mend };
}
