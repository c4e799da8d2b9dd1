import { frameHeadBytes } from "../frames.ts";

export interface SeenFrame {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/**
 * Takes what is received apart into frames, by none of the rules that are under test.
 *
 * @param prefaceBytes what comes before the first frame
 * @returns takes the next bytes, and gives the frames that are whole by them
 */
export function frameSplitter(prefaceBytes: number): (chunk: Buffer) => readonly SeenFrame[] {
  let rest = Buffer.alloc(0);
  let toSkip = prefaceBytes;
  return (chunk) => {
    const frames: SeenFrame[] = [];
    rest = Buffer.concat([rest, chunk]);
    const skipped = Math.min(toSkip, rest.byteLength);
    toSkip -= skipped;
    rest = rest.subarray(skipped);
    while (rest.byteLength >= frameHeadBytes) {
      const end = frameHeadBytes + rest.readUIntBE(0, 3);
      if (rest.byteLength < end) break;
      frames.push({
        type: rest.readUInt8(3),
        flags: rest.readUInt8(4),
        streamId: rest.readUInt32BE(5),
        payload: rest.subarray(frameHeadBytes, end),
      });
      rest = rest.subarray(end);
    }
    return frames;
  };
}
