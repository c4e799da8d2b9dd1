import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** After how many received bytes the young objects are collected. */
const collectEveryBytes = 16 * 1024 * 1024;

let collectYoung: (() => void) | undefined;
let receivedBytes = 0;

/**
 * Counts bytes as they come in larger chunks, and has the buffers that they came in collected now and then.
 *
 * The engine makes a new buffer of 64 KiB for each read. These die young, but nothing collects young
 * objects for their sake: past 64 MiB of them the whole heap is marked, which took as much time as all the
 * rest of receiving. Collecting the young objects alone takes about a millisecond.
 */
export function noteReceived(bytes: number): void {
  receivedBytes += bytes;
  if (receivedBytes < collectEveryBytes) return;
  receivedBytes = 0;
  collectYoung ??= findCollector();
  collectYoung();
}

/** The engine's own function, which has no name in a program that is not started with a flag for it. */
function findCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  setFlagsFromString("--no-expose-gc");
  if (typeof collect !== "function") return () => undefined;
  return () => {
    Reflect.apply(collect, undefined, [{ type: "minor" }]);
  };
}
