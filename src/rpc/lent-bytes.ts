/**
 * Messages whose bytes lie in memory that is used again once it is given back. Who gives nothing back keeps
 * what he has: then the memory goes with the message.
 */
const lent = new WeakMap<object, () => void>();

/** Notes where the memory of a message goes when it is not needed any more. */
export function lendBytes(message: object, giveBack: () => void): void {
  lent.set(message, giveBack);
}

/** Gives the memory of a message back, if it was lent: from now on its bytes may change. */
export function giveBytesBack(message: object): void {
  const giveBack = lent.get(message);
  lent.delete(message);
  giveBack?.();
}
