const nobody = 65534;

/** Takes the right to read everything from a process of root, until disposed. */
export function asOrdinaryUser(): Disposable {
  const isRoot = process.geteuid?.() === 0;
  if (isRoot) process.seteuid?.(nobody);
  return {
    [Symbol.dispose]: () => {
      if (isRoot) process.seteuid?.(0);
    },
  };
}
