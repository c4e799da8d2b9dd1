import { type DescMessage, fromBinary } from "@bufbuild/protobuf";
import { wirePlanOf } from "./wire-plan.ts";
import { compileWireScan } from "./wire-scan.ts";

const scans = new WeakMap<DescMessage, (bytes: Uint8Array) => boolean>();

/**
 * Whether bytes are a message of a type, as `fromBinary` would find out, without making the message.
 *
 * @throws what `fromBinary` throws, if they are not
 */
export function checkWire(desc: DescMessage, bytes: Uint8Array): void {
  if (!isSurely(desc, bytes)) fromBinary(desc, bytes);
}

/**
 * Whether bytes are a message for sure. What is unusual, such as a field that is not known or a tag of three
 * bytes, is for the runtime to judge.
 */
export function isSurely(desc: DescMessage, bytes: Uint8Array): boolean {
  let scan = scans.get(desc);
  if (scan === undefined) {
    scan = compileWireScan(wirePlanOf(desc));
    scans.set(desc, scan);
  }
  return scan(bytes);
}
