import assert from "node:assert/strict";
import { it } from "node:test";
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  ListSharedRegistrationsResponseSchema,
  ReadSharedFilesResponseSchema,
  RegistrationKind,
  type SharedRegistrationSchema,
} from "../../gen/collector/sharing_pb.ts";
import type { Channel } from "../channel.ts";
import { PeerRegistrations } from "./peer-registrations.ts";

function peerThatSays(answers: readonly Uint8Array[]): PeerRegistrations {
  const channel: Channel = {
    endpoint: "x",
    state: "ready",
    unary: () => Promise.reject(new Error("nobody asks for one message")),
    stream: () => ({
      headers: Promise.resolve([]),
      messages: (async function* (): AsyncGenerator<Uint8Array, undefined> {
        yield* await Promise.resolve(answers);
      })(),
      end: new Promise<never>(() => undefined),
    }),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
  const { signal } = new AbortController();
  return new PeerRegistrations({
    channel,
    peerId: "x",
    collectorId: "me",
    descriptorBytesMax: 4,
    signal,
  });
}

const file: MessageInitShape<typeof SharedRegistrationSchema> = {
  kind: RegistrationKind.FILE,
  name: "one.proto",
  versions: [new Uint8Array(16)],
  version: 1n,
};

function listing(
  ...registrations: readonly MessageInitShape<typeof SharedRegistrationSchema>[]
): PeerRegistrations {
  const answer = create(ListSharedRegistrationsResponseSchema, {
    registrations: [...registrations],
  });
  return peerThatSays([toBinary(ListSharedRegistrationsResponseSchema, answer)]);
}

it("what a peer lists is taken as it says, and where it was registered is known", async () => {
  const peer = listing(
    file,
    { ...file, originCollectorId: "y" },
    { ...file, originCollectorId: "me" },
  );
  const entries = await peer.list("default");
  assert.deepEqual(
    entries.map(({ origin }) => origin),
    ["x", "y", ""],
  );
});

it("a list that is none is refused as a whole", async () => {
  const wrong: readonly MessageInitShape<typeof SharedRegistrationSchema>[] = [
    { ...file, kind: RegistrationKind.UNSPECIFIED },
    { ...file, name: "" },
    { ...file, name: "a\u001b[2Jb.proto" },
    { ...file, name: "a".repeat(1025) },
    { ...file, removals: -1n },
    { ...file, removals: 1n << 60n },
    { ...file, versions: [] },
    { ...file, versions: [new Uint8Array(15)] },
    { ...file, isRemoved: true },
    { ...file, originCollectorId: "a b" },
    { ...file, kind: RegistrationKind.SERVICE },
  ];
  for (const each of wrong) {
    await assert.rejects(listing(file, each).list("default"), { reason: "ANSWER_INVALID" });
  }
  await assert.rejects(peerThatSays([Buffer.from([255])]).list("default"), {
    reason: "ANSWER_INVALID",
  });
});

it("a list without end is given up", async () => {
  const answer = create(ListSharedRegistrationsResponseSchema, {
    registrations: Array.from({ length: 1000 }, () => file),
  });
  const bytes = toBinary(ListSharedRegistrationsResponseSchema, answer);
  const peer = peerThatSays(Array.from({ length: 60 }, () => bytes));
  await assert.rejects(peer.list("default"), { reason: "ANSWER_INVALID", message: /50000/ });
});

it("files come in parts, in order, and those over the limit are left out", async () => {
  const parts = (
    ...said: readonly (readonly [index: number, text: string, isLast: boolean])[]
  ): PeerRegistrations =>
    peerThatSays(
      said.map(([index, text, isLast]) =>
        toBinary(
          ReadSharedFilesResponseSchema,
          create(ReadSharedFilesResponseSchema, { index, part: Buffer.from(text), isLast }),
        ),
      ),
    );
  const wanted = ["a", "b", "c"].map((name) => ({ name, hash: "00".repeat(16) }));
  const found = await parts(
    [0, "ab", false],
    [0, "cd", true],
    [1, "abc", false],
    [1, "de", true],
    [2, "x", true],
  ).read("default", wanted);
  assert.deepEqual(
    [...found].map(([index, { source }]) => [index, Buffer.from(source).toString()]),
    [
      [0, "abcd"],
      [2, "x"],
    ],
  );
  for (const peer of [parts([3, "a", true]), parts([1, "a", true], [0, "a", true])]) {
    await assert.rejects(peer.read("default", wanted), { reason: "ANSWER_INVALID" });
  }
});
