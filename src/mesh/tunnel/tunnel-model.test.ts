import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import type { TunnelCall } from "../../tunnel/served-call.ts";
import { StatusError, TunnelPair } from "./testing/tunnel-pair.ts";

const callsMax = 3;

type Step = { readonly do: "read" } | { readonly do: "write"; readonly bytes: number };

/** What both sides of a call do. */
interface Plan {
  /** Sizes of what the caller sends. */
  readonly requests: readonly number[];
  readonly steps: readonly Step[];
  readonly code: number;
  /** The caller leaves after so many messages of the answer. */
  readonly leaveAfter: number | undefined;
  /** The caller gives up after so many turns of the loop. */
  readonly cancelAfter: number | undefined;
  /** Turns that pass between what the caller does. */
  readonly callerPause: number;
  readonly handlerPause: number;
}

const size = fc.oneof(
  { weight: 6, arbitrary: fc.nat(2000) },
  { weight: 2, arbitrary: fc.constantFrom(0, 65_535, 65_536, 65_537, 200_000) },
  { weight: 1, arbitrary: fc.constantFrom(262_080, 262_144, 400_000) },
);

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant({ do: "read" } as const),
  fc.record({ do: fc.constant("write" as const), bytes: size }),
);

const plan: fc.Arbitrary<Plan> = fc.record({
  requests: fc.array(size, { maxLength: 6 }),
  steps: fc.array(step, { maxLength: 12 }),
  code: fc.constantFrom(0, 0, 0, 5, 14),
  leaveAfter: fc.option(fc.nat(6), { nil: undefined, freq: 4 }),
  cancelAfter: fc.option(fc.nat(30), { nil: undefined, freq: 4 }),
  callerPause: fc.nat(3),
  handlerPause: fc.nat(3),
});

interface Scenario {
  readonly plans: readonly Plan[];
  readonly carryPause: number;
  /** The stream breaks off after so many turns. */
  readonly cutAfter: number | undefined;
}

const scenario: fc.Arbitrary<Scenario> = fc.record({
  plans: fc.array(plan, { minLength: 1, maxLength: 8 }),
  carryPause: fc.nat(2),
  cutAfter: fc.option(fc.nat(40), { nil: undefined, freq: 3 }),
});

async function pause(turns: number): Promise<void> {
  for (let i = 0; i < turns; i += 1) await turn();
}

/** Bytes that tell which message they are. */
function content(call: number, index: number, bytes: number): Uint8Array {
  return new Uint8Array(bytes).fill((call * 31 + index * 7 + 1) % 256);
}

function assertContent(message: Uint8Array, expected: Uint8Array): void {
  assert.ok(Buffer.from(message).equals(expected), "a message is not what was sent");
}

/** What is known of the handlers, as they see it. */
class Handlers {
  readonly begun = new Set<number>();
  running = 0;
  readonly #plans: readonly Plan[];

  constructor(plans: readonly Plan[]) {
    this.#plans = plans;
  }

  async *run({ path, messages }: TunnelCall): AsyncIterable<Uint8Array> {
    const call = Number(path.slice(path.lastIndexOf("/C") + 2));
    const { steps, requests, code, handlerPause } = this.#plans[call] ?? assert.fail();
    this.begun.add(call);
    this.running += 1;
    assert.ok(this.running <= callsMax, `${this.running} calls run at a time`);
    try {
      let reads = 0;
      let writes = 0;
      for (const each of steps) {
        await pause(handlerPause);
        if (each.do === "write") {
          yield content(call, 100 + writes, each.bytes);
          writes += 1;
          continue;
        }
        const result = await messages.next();
        const due = requests[reads];
        assert.equal(result.done === true, due === undefined);
        if (result.done !== true && due !== undefined) {
          assertContent(result.value, content(call, reads, due));
        }
        reads += 1;
      }
      if (code !== 0) throw new StatusError({ code, message: `failed ${call}`, metadata: [] });
    } finally {
      this.running -= 1;
    }
  }
}

/** Makes one call and holds what comes against its plan. */
async function call(
  pair: TunnelPair,
  handlers: Handlers,
  index: number,
  { requests, steps, code, leaveAfter, cancelAfter, callerPause }: Plan,
  isCut: boolean,
): Promise<void> {
  const controller = new AbortController();
  const stream = pair.caller.stream(
    `/m.Model/C${index}`,
    (async function* () {
      for (const [i, bytes] of requests.entries()) {
        await pause(callerPause);
        yield content(index, i, bytes);
      }
    })(),
    { signal: controller.signal },
  );
  const cancelled = cancelAfter === undefined ? undefined : cancelLater(controller, cancelAfter);
  const writes = steps.flatMap((each) => (each.do === "write" ? [each.bytes] : []));
  let seen = 0;
  let hasLeft = leaveAfter === 0;
  try {
    if (hasLeft) await stream.messages.return?.();
    for await (const message of stream.messages) {
      assertContent(
        message,
        content(index, 100 + seen, writes[seen] ?? assert.fail("one too many")),
      );
      seen += 1;
      await pause(callerPause);
      hasLeft = seen === leaveAfter;
      if (hasLeft) break;
    }
  } catch (error) {
    const { failure } = await stream.end;
    assert.equal(error, failure);
  }
  const end = await stream.end;
  await cancelled;
  const allowed = new Set([code]);
  if (hasLeft || cancelAfter !== undefined) allowed.add(1);
  if (isCut) allowed.add(14);
  assert.ok(allowed.has(end.code), `ended with ${end.code}: ${end.message}`);
  const isWhole = !hasLeft && end.code === code && end.failure?.reason === undefined;
  if (isWhole) assert.equal(seen, writes.length);
  if (end.failure?.mayHaveRun === false) assert.ok(!handlers.begun.has(index), "it did run");
}

async function cancelLater(controller: AbortController, turns: number): Promise<void> {
  await pause(turns);
  controller.abort();
}

describe("any calls over a tunnel", () => {
  it("see what their other ends do, whatever is given up, slow or cut off", async () => {
    await fc.assert(
      fc.asyncProperty(scenario, async ({ plans, carryPause, cutAfter }) => {
        const handlers = new Handlers(plans);
        await using pair = new TunnelPair((each) => handlers.run(each), {
          callsMax,
          delay: () => pause(carryPause),
        });
        const isCut = cutAfter !== undefined;
        const calls = plans.map((each, index) => call(pair, handlers, index, each, isCut));
        if (isCut) {
          await pause(cutAfter);
          pair.cut();
        }
        await Promise.all(calls);
        // Those that were given up end at the other side, too.
        for (let i = 0; i < 1000 && pair.caller.callCount + handlers.running > 0; i += 1)
          await turn();
        assert.equal(pair.caller.callCount, 0);
        assert.equal(pair.server.callCount, 0);
        assert.equal(handlers.running, 0);
        assert.deepEqual(pair.faults, []);
      }),
    );
  });
});
