import type { Message } from "@bufbuild/protobuf";

/** A message in wire form, in memory that its maker wants back. */
export interface ReadyMessage {
  /** Behind {@link readyHeadroomBytes} of room. */
  readonly bytes: Buffer;
  /** Called once, when the bytes have left; never if they did not. */
  readonly giveBack: () => void;
}

/** Room before a message, for what a transport puts there. */
export const readyHeadroomBytes = 5;

const ready = new WeakMap<Message, ReadyMessage>();

/** Notes the wire form of a message, for transports that can use it. */
export function setReady(message: Message, form: ReadyMessage): void {
  ready.set(message, form);
}

export function readyOf(message: Message): ReadyMessage | undefined {
  return ready.get(message);
}
