import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { GroupLinger } from "./group-linger.ts";

interface Group {
  /** Writes at hand when the group begins. */
  readonly ready: number;
  /** Writes that are posted while it waits. */
  readonly late?: number;
  /** Writes of others that come while it is committed. */
  readonly meanwhile?: number;
}

/** Commits a group; answers how often it waited. */
function commit(linger: GroupLinger, posted: Int32Array, group: Group): number {
  const { ready, late = 0, meanwhile = 0 } = group;
  let writes = ready;
  let waits = 0;
  linger.begin("store");
  for (;;) {
    linger.look();
    if (writes < ready + late) Atomics.add(posted, 0, 1);
    const beginMs = performance.now();
    const isMore = linger.wait(writes);
    if (isMore || performance.now() - beginMs > 1) waits += 1;
    if (!isMore) break;
    writes += 1;
  }
  // The commit.
  Atomics.wait(posted, 0, Atomics.load(posted, 0), 3);
  linger.end(writes, meanwhile);
  return waits;
}

describe("GroupLinger", () => {
  it("never lets a caller alone wait", () => {
    const posted = new Int32Array(new SharedArrayBuffer(4));
    const linger = new GroupLinger(posted);
    for (let group = 0; group < 5; group += 1) {
      assert.equal(commit(linger, posted, { ready: 1 }), 0);
    }
  });

  it("waits for those whom the last commit has answered, and no longer", () => {
    const posted = new Int32Array(new SharedArrayBuffer(4));
    const linger = new GroupLinger(posted);
    commit(linger, posted, { ready: 4, meanwhile: 3 });
    assert.equal(commit(linger, posted, { ready: 3, late: 9 }), 4);
  });

  it("gives up after about a commit's time, and then does not wait for a while", () => {
    const posted = new Int32Array(new SharedArrayBuffer(4));
    const linger = new GroupLinger(posted);
    commit(linger, posted, { ready: 8 });
    assert.equal(commit(linger, posted, { ready: 1 }), 1);
    for (let group = 0; group < 32; group += 1) {
      assert.equal(commit(linger, posted, { ready: 1, meanwhile: 8 }), 0);
    }
  });

  it("expects nothing of a store that another one follows", () => {
    const posted = new Int32Array(new SharedArrayBuffer(4));
    const linger = new GroupLinger(posted);
    commit(linger, posted, { ready: 8 });
    linger.begin("another");
    linger.look();
    assert.equal(linger.wait(1), false);
  });
});
