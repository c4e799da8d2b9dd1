import type { SharedEntry } from "../../registry/exchange.ts";
import { compareHistories } from "./compare-histories.ts";

/** A file of which versions are to be taken over. */
export interface FileToTake {
  readonly entry: SharedEntry;
  /** Hash of the version in force here; empty if there is none. */
  readonly basis: string;
  /** Hashes of the versions to take, the oldest first. */
  readonly missing: readonly string[];
}

/** A file that is another one here. */
export interface DivergedFile {
  readonly entry: SharedEntry;
  readonly ours: SharedEntry;
}

/** What one collector has to do about the registrations of another one. */
export interface Differences {
  /** There it was removed, here it is registered. Services first, then files before those that they import. */
  readonly removals: readonly SharedEntry[];
  /** Files after those that they import. */
  readonly files: readonly FileToTake[];
  readonly services: readonly SharedEntry[];
  /** Files of which the histories do not tell which is the later one, or that were registered anew there. */
  readonly diverged: readonly DivergedFile[];
  /** Here too it counts as removed that often. */
  readonly counts: readonly SharedEntry[];
}

/** Compares what is registered here with what is at the other end. */
export function findDifferences(
  ours: readonly SharedEntry[],
  theirs: readonly SharedEntry[],
): Differences {
  const known = new Map(ours.map((entry) => [keyOf(entry), entry]));
  const services: SharedEntry[] = [];
  const removedFiles: SharedEntry[] = [];
  const removedServices: SharedEntry[] = [];
  const files: FileToTake[] = [];
  const diverged: DivergedFile[] = [];
  const counts: SharedEntry[] = [];
  for (const entry of theirs) {
    const own = known.get(keyOf(entry));
    const isLater = entry.removals > (own?.removals ?? 0);
    if (entry.isRemoved) {
      // Of what was never here nothing has to be kept.
      if (own === undefined || !isLater) continue;
      if (own.isRemoved) counts.push(entry);
      else if (entry.kind === "file") removedFiles.push(entry);
      else removedServices.push(entry);
      continue;
    }
    if (own === undefined || own.isRemoved) {
      // What was removed here since does not come back.
      if (own !== undefined && entry.removals < own.removals) continue;
      if (entry.kind === "service") services.push(entry);
      else files.push({ entry, basis: "", missing: entry.versions });
      continue;
    }
    // It was removed and registered anew here since: the other end has to follow.
    if (entry.removals < own.removals) continue;
    const relation = compareHistories(own.versions, entry.versions);
    if (relation.kind === "behind") {
      files.push({ entry, basis: own.versions.at(-1) ?? "", missing: relation.missing });
    } else if (relation.kind === "diverged" || (relation.kind === "ahead" && isLater)) {
      diverged.push({ entry, ours: own });
    } else if (isLater) counts.push(entry);
  }
  const order = new Map(ours.map(({ kind, name }, at) => [`${kind} ${name}`, at]));
  const place = (entry: SharedEntry): number => order.get(keyOf(entry)) ?? 0;
  removedFiles.sort((a, b) => place(b) - place(a));
  return { removals: [...removedServices, ...removedFiles], files, services, diverged, counts };
}

function keyOf({ kind, name }: SharedEntry): string {
  return `${kind} ${name}`;
}
