import {
  errorCode,
  frameFlag,
  ProtocolError,
  payloadBytesMax,
  setting,
  windowBytesMax,
} from "./frames.ts";

const priorityBytes = 5;

export function notFirst(): ProtocolError {
  return new ProtocolError("the first frame is no SETTINGS");
}

export function notWhole(): ProtocolError {
  return new ProtocolError("a header block is not whole");
}

export function tooWide(): ProtocolError {
  return new ProtocolError("a window", errorCode.flowControl);
}

/** @throws {ProtocolError} */
export function expectBytes(payload: Buffer, bytes: number): void {
  if (payload.byteLength !== bytes) throw wrongSize();
}

/** The frame is of the connection, and of no stream. @throws {ProtocolError} */
export function expectConnection(streamId: number): void {
  if (streamId !== 0) throw new ProtocolError("a frame of the connection on a stream");
}

/** Numbers and values of a frame of settings. @throws {ProtocolError} if one of them cannot be */
export function readSettings(payload: Buffer): readonly (readonly [id: number, value: number])[] {
  if (payload.byteLength % 6 !== 0) throw wrongSize();
  return Array.from({ length: payload.byteLength / 6 }, (_, at) => {
    const id = payload.readUInt16BE(at * 6);
    const value = payload.readUInt32BE(at * 6 + 2);
    checkSetting(id, value);
    return [id, value] as const;
  });
}

/** What the peer has taken and why it goes. @throws {ProtocolError} */
export function readGoAway(payload: Buffer): { readonly lastId: number; readonly code: number } {
  if (payload.byteLength < 8) throw wrongSize();
  return { lastId: payload.readUInt32BE(0) & windowBytesMax, code: payload.readUInt32BE(4) };
}

/** The payload of data or headers. @throws {ProtocolError} */
export function withoutPadding(flags: number, payload: Buffer): Buffer {
  if ((flags & frameFlag.padded) === 0) return payload;
  const padding = payload[0] ?? payload.byteLength;
  if (padding >= payload.byteLength) throw new ProtocolError("a frame of more than padding");
  return payload.subarray(1, payload.byteLength - padding);
}

/** The part of a header block in a frame of headers. @throws {ProtocolError} */
export function blockIn(flags: number, payload: Buffer): Buffer {
  const bytes = withoutPadding(flags, payload);
  if ((flags & frameFlag.priority) === 0) return bytes;
  if (bytes.byteLength < priorityBytes) throw wrongSize();
  return bytes.subarray(priorityBytes);
}

function checkSetting(id: number, value: number): void {
  if (id === setting.initialWindowSize && value > windowBytesMax) throw tooWide();
  const isFlag = id === setting.enablePush;
  const isFrameSize = id === setting.maxFrameSize;
  const isTooSmall = isFrameSize && value < payloadBytesMax;
  if (isTooSmall || (isFrameSize && value > 2 ** 24 - 1) || (isFlag && value > 1)) {
    throw new ProtocolError("a setting");
  }
}

function wrongSize(): ProtocolError {
  return new ProtocolError("a frame's size", errorCode.frameSize);
}
