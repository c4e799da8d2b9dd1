import { quote } from "./names.ts";

/** Files in an order in which each comes after what it imports, or a cycle. */
export type ImportOrder =
  | { readonly kind: "ordered"; readonly names: readonly string[] }
  | { readonly kind: "cycle"; readonly names: readonly string[] };

/**
 * Orders `names` by their imports; imports of other files do not count.
 *
 * @param importsOf names of the files that a file imports
 */
export function orderByImports(
  names: ReadonlySet<string>,
  importsOf: (name: string) => readonly string[],
): ImportOrder {
  const waitingFor = new Map<string, number>();
  const importers = new Map<string, string[]>();
  for (const name of names) {
    const imports = new Set(importsOf(name).filter((imported) => names.has(imported)));
    waitingFor.set(name, imports.size);
    for (const imported of imports) {
      const list = importers.get(imported);
      if (list === undefined) importers.set(imported, [name]);
      else list.push(name);
    }
  }
  const ordered = [...names].filter((name) => waitingFor.get(name) === 0);
  for (const name of ordered) {
    for (const importer of importers.get(name) ?? []) {
      const left = (waitingFor.get(importer) ?? 0) - 1;
      waitingFor.set(importer, left);
      if (left === 0) ordered.push(importer);
    }
  }
  if (ordered.length === names.size) return { kind: "ordered", names: ordered };
  const stuck = new Set(names);
  for (const name of ordered) stuck.delete(name);
  return { kind: "cycle", names: findCycle(stuck, importsOf) };
}

/** Every file of `stuck` imports another of them, so following imports must come round. */
function findCycle(
  stuck: ReadonlySet<string>,
  importsOf: (name: string) => readonly string[],
): string[] {
  const path: string[] = [];
  const seen = new Set<string>();
  let [next] = stuck;
  while (next !== undefined && !seen.has(next)) {
    seen.add(next);
    path.push(next);
    next = importsOf(next).find((name) => stuck.has(name));
  }
  return next === undefined ? path : path.slice(path.indexOf(next));
}

/** A cycle for a message: `"a.proto" imports "b.proto" imports "a.proto"`. */
export function describeCycle(names: readonly string[]): string {
  const shown = names.length > 8 ? [...names.slice(0, 8), "…"] : names;
  return [...shown, names[0] ?? ""].map(quote).join(" imports ");
}
