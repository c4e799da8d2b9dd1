import assert from "node:assert/strict";
import { it } from "node:test";
import { create } from "@bufbuild/protobuf";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import fc from "fast-check";
import { CollectorError } from "../../errors.ts";
import { namespace, SharingNode, settle } from "./testing/sharing-net.ts";

const ids = ["a", "b", "c"] as const;
type Id = (typeof ids)[number];

/** The files of the histories: the second one may import the first. */
const names = ["one", "two"] as const;
type Name = (typeof names)[number];

interface Content {
  readonly fields: readonly ("x" | "y" | "z")[];
  /** Another type of the first field makes versions incompatible. */
  readonly isNumber: boolean;
  readonly hasExtra: boolean;
  readonly importsOther: boolean;
}

type Step =
  | { readonly kind: "register"; readonly at: Id; readonly name: Name; readonly content: Content }
  | {
      readonly kind: "unregister" | "use" | "disuse" | "serve" | "unserve" | "run" | "rest";
      readonly at: Id;
      readonly name: Name;
    }
  | { readonly kind: "pull"; readonly at: Id; readonly from: Id };

const at = fc.constantFrom(...ids);
const name = fc.constantFrom(...names);
const content: fc.Arbitrary<Content> = fc.record({
  fields: fc.subarray(["x", "y", "z"] as const),
  isNumber: fc.boolean(),
  hasExtra: fc.boolean(),
  importsOther: fc.boolean(),
});

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant("register" as const), at, name, content }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        "unregister" as const,
        "unregister" as const,
        "use" as const,
        "disuse" as const,
        "serve" as const,
        "unserve" as const,
        "run" as const,
        "rest" as const,
      ),
      at,
      name,
    }),
  },
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("pull" as const), at, from: at }) },
);

function fileOf(
  of: Name,
  { fields, isNumber, hasExtra, importsOther }: Content,
): FileDescriptorProto {
  const imports = of === "two" && importsOther;
  const numbers = { x: 1, y: 2, z: 3 };
  return create(FileDescriptorProtoSchema, {
    name: `${of}.proto`,
    package: of,
    syntax: "proto3",
    dependency: imports ? ["one.proto"] : [],
    messageType: [
      {
        name: "Thing",
        field: [
          ...fields.map((field) => ({
            name: field,
            number: numbers[field],
            label: FieldDescriptorProto_Label.OPTIONAL,
            type:
              field === "x" && isNumber
                ? FieldDescriptorProto_Type.FIXED32
                : FieldDescriptorProto_Type.STRING,
          })),
          ...(imports
            ? [
                {
                  name: "other",
                  number: 9,
                  label: FieldDescriptorProto_Label.OPTIONAL,
                  type: FieldDescriptorProto_Type.MESSAGE,
                  typeName: ".one.Thing",
                },
              ]
            : []),
        ],
      },
      ...(hasExtra ? [{ name: "Extra" }] : []),
    ],
    service: [
      {
        name: "Api",
        method: [{ name: "Ask", inputType: `.${of}.Thing`, outputType: `.${of}.Thing` }],
      },
    ],
  });
}

class World {
  readonly nodes: readonly SharingNode[];
  /** By collector and name: the version that was registered there last, by a caller. */
  readonly own = new Map<string, string>();
  readonly ownServices = new Set<string>();

  private constructor(nodes: readonly SharingNode[]) {
    this.nodes = nodes;
  }

  static async open(): Promise<World> {
    return new World(await Promise.all(ids.map((id) => SharingNode.open(id))));
  }

  node(id: Id): SharingNode {
    const node = this.nodes.find((each) => each.id === id);
    assert.ok(node !== undefined);
    return node;
  }

  async run(what: Step): Promise<void> {
    const node = this.node(what.at);
    if (what.kind === "pull") {
      if (what.at !== what.from) await node.pullFrom(this.node(what.from));
      return;
    }
    const { name: of } = what;
    const key = `${what.at} ${of}`;
    switch (what.kind) {
      case "register":
        if (await succeeds(node.register(fileOf(of, what.content)))) {
          // Content that an earlier version has is answered with that one.
          const asked = node.registry.getFile(namespace, `${of}.proto`).version;
          assert.ok(asked > 0n);
          this.own.set(key, node.versionsOf(`${of}.proto`).at(-1) ?? "");
        }
        break;
      case "unregister":
        if (await succeeds(node.registry.unregisterFile(namespace, `${of}.proto`, false))) {
          this.own.delete(key);
        }
        break;
      case "use":
        if (node.list().some((entry) => entry.startsWith(`file ${of}.proto`))) {
          node.use(of, `${of}.Thing`);
        }
        break;
      case "disuse":
        node.disuse(of);
        break;
      case "serve":
        if (await succeeds(node.registerService(`${of}.Api`))) this.ownServices.add(key);
        break;
      case "unserve":
        if (await succeeds(node.registry.unregisterService(namespace, `${of}.Api`, false))) {
          this.ownServices.delete(key);
        }
        break;
      case "run":
        node.served.add(`${of}.Api`);
        break;
      case "rest":
        node.served.delete(`${of}.Api`);
        break;
    }
  }
}

async function succeeds(work: Promise<unknown>): Promise<boolean> {
  try {
    await work;
    return true;
  } catch (error) {
    if (error instanceof CollectorError) return false;
    throw error;
  }
}

it("agree in the end or say where not, and lose nothing that was registered at them", async () => {
  let [agreed, conflicts] = [0, 0];
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const world = await World.open();
      for (const each of steps) await world.run(each);
      const results = await settle(world.nodes);
      for (const node of world.nodes) {
        for (const of of names) {
          const hash = world.own.get(`${node.id} ${of}`);
          if (hash !== undefined) {
            assert.ok(node.versionsOf(`${of}.proto`).includes(hash), `${node.id} lost ${of}`);
          }
          if (world.ownServices.has(`${node.id} ${of}`)) {
            assert.ok(node.list().includes(`service ${of}.Api`), `${node.id} lost ${of}.Api`);
          }
        }
        for (const [, type] of node.store.collections.get(namespace) ?? []) {
          assert.ok(node.registry.snapshot(namespace).types.getMessage(type), `${type} is in use`);
        }
        for (const other of world.nodes) {
          if (node === other) continue;
          const both = [
            results.get(`${node.id}<${other.id}`),
            results.get(`${other.id}<${node.id}`),
          ];
          const reported = new Set(
            both.flatMap((result) =>
              result?.conflicts.map(({ kind, name: of }) => `${kind} ${of}`),
            ),
          );
          const [ours, theirs] = [node.contents(), other.contents()];
          for (const key of new Set([...ours.keys(), ...theirs.keys()])) {
            const isSame = ours.get(key) === theirs.get(key);
            if (isSame) agreed += 1;
            else conflicts += 1;
            assert.equal(reported.has(key), !isSame, `${key} at ${node.id} and ${other.id}`);
          }
        }
      }
      // A restart changes nothing of it.
      for (const node of world.nodes) {
        const again = await node.store.reopen();
        assert.deepEqual(
          again.exchange.entries(namespace),
          node.registry.exchange.entries(namespace),
        );
      }
    }),
    { numRuns: 200 },
  );
  assert.ok(agreed > 100 && conflicts > 20, `${agreed} agreed, ${conflicts} in conflict`);
});
