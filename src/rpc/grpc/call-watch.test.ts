import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { CallWatch } from "./call-watch.ts";
import type { ServerStream } from "./server-stream.ts";
import { TimerWheel } from "./timer-wheel.ts";

const streamIdleMs = 1000;

/** A watch over an answer of which so many bytes wait for the reader. */
function watched(): {
  readonly watch: CallWatch;
  readonly wait: (bytes: number) => void;
  readonly told: () => string[];
} {
  const told: string[] = [];
  let bufferedBytes = 0;
  const stream = {
    get bufferedBytes() {
      return bufferedBytes;
    },
    heldBytes: 0,
    cancel: () => void told.push("cancelled"),
  } as Partial<ServerStream> as ServerStream;
  const watch = new CallWatch({
    call: { isOver: false, interrupt: ({ reason }) => void told.push(reason) },
    stream,
    wheel: new TimerWheel(() => 0),
    openShare: () => ({ set: () => undefined, [Symbol.dispose]: () => undefined }),
    streamIdleMs,
  });
  return {
    watch,
    wait: (bytes) => {
      bufferedBytes = bytes;
    },
    told: () => told,
  };
}

describe("CallWatch", () => {
  it("does not take what was just written for what nobody takes", () => {
    const { watch, wait, told } = watched();
    watch.onDue(1000);
    watch.noteWritten(10);
    wait(10);
    watch.onDue(2000);
    assert.deepEqual(told(), []);
    wait(0);
    watch.onDue(3000);
    watch.noteWritten(10);
    wait(10);
    watch.onDue(4000);
    assert.deepEqual(told(), []);
    watch.stop();
  });

  it("gives up on who takes nothing for the limit, and not on who takes little", () => {
    const { watch, wait, told } = watched();
    watch.noteWritten(100);
    for (const [left, atMs] of [
      [100, 1000],
      [99, 2000],
      [98, 3000],
      [98, 3999],
    ] as const) {
      wait(left);
      watch.onDue(atMs);
    }
    assert.deepEqual(told(), []);
    watch.onDue(4000);
    assert.deepEqual(told(), ["DEADLINE_EXCEEDED", "cancelled"]);
    watch.stop();
  });
});
