import { CollectorError } from "../../errors.ts";
import { importsOf, lossOf } from "../../registry/compatibility/holds-all.ts";
import type { RegistryExchange, SharedEntry } from "../../registry/exchange.ts";
import type { TakenFile, TakenVersion } from "../../registry/takeover.ts";
import { type Conflict, sharingReasons } from "./conflicts.ts";
import {
  type Differences,
  type DivergedFile,
  type FileToTake,
  findDifferences,
} from "./differences.ts";
import type { PeerRegistrations } from "./peer-registrations.ts";

/** How often what fails is tried again as long as something else succeeds. */
const roundsMax = 5;

/** Versions that are read and taken over in one go, unless one file has more. */
const batchVersionsMax = 32;

export interface PullOptions {
  readonly exchange: RegistryExchange;
  readonly peer: Pick<PeerRegistrations, "list" | "read">;
  readonly peerId: string;
  readonly namespace: string;
}

/** What became of a comparison. */
export interface PullResult {
  /** What could not be taken over. */
  readonly conflicts: readonly Conflict[];
  /** Files, services and removals that were. */
  readonly taken: number;
  /** Something has changed here meanwhile, so that it has to be done again. */
  readonly isOutdated: boolean;
}

/**
 * Takes over what another collector has registered in a namespace and what is later than what is here; what
 * is here and cannot follow stays as it is. Nothing of it depends on what was taken over before, so it may be
 * done at any time and as often as one likes.
 *
 * @throws {CallFailure} if the other collector cannot be asked
 * @throws {CollectorError} ANSWER_INVALID
 */
export async function pull(options: PullOptions): Promise<PullResult> {
  return await new Pull(options).run();
}

/** A file with the bytes of the versions to take. */
interface ReadFile {
  readonly wanted: FileToTake;
  readonly taken: TakenFile;
}

/** What has become of diverged files. */
interface Settled {
  readonly files: FileToTake[];
  /** Services that made room for a file, and come back with it. */
  readonly services: SharedEntry[];
  /** In conflict. */
  readonly left: DivergedFile[];
}

class Pull {
  readonly #options: PullOptions;
  readonly #ours = new Map<string, SharedEntry>();
  readonly #conflicts = new Map<string, Conflict>();
  /** Those of the other end. */
  #services: readonly SharedEntry[] = [];
  #taken = 0;
  #isOutdated = false;

  constructor(options: PullOptions) {
    this.#options = options;
  }

  async run(): Promise<PullResult> {
    const { exchange, peer, namespace } = this.#options;
    const theirs = await peer.list(namespace);
    const ours = exchange.entries(namespace);
    for (const entry of ours) this.#ours.set(keyOf(entry), entry);
    const found = findDifferences(ours, theirs);
    this.#services = theirs.filter(({ kind, isRemoved }) => kind === "service" && !isRemoved);
    await this.#carryOut(found);
    for (const { kind, name, removals } of found.counts) {
      await exchange.countRemovals(namespace, kind, name, removals);
    }
    return {
      conflicts: [...this.#conflicts.values()],
      taken: this.#taken,
      isOutdated: this.#isOutdated,
    };
  }

  /** One may need another, so what fails is tried again as long as anything else succeeds. */
  async #carryOut({ removals, diverged, files, services }: Differences): Promise<void> {
    let [removing, settling, taking, adding] = [removals, diverged, files, services];
    const count = () => removing.length + settling.length + taking.length + adding.length;
    for (let round = 0, left = count() + 1; count() > 0 && count() < left; round += 1) {
      if (round === roundsMax) break;
      left = count();
      removing = await this.#each(removing, (entry) => this.#remove(entry));
      const settled = await this.#settle(settling);
      settling = settled.left;
      taking = await this.#takeAll([...taking, ...settled.files]);
      adding = await this.#each([...adding, ...settled.services], (entry) =>
        this.#takeService(entry),
      );
    }
  }

  async #each(
    entries: readonly SharedEntry[],
    take: (entry: SharedEntry) => Promise<void>,
  ): Promise<SharedEntry[]> {
    const left: SharedEntry[] = [];
    for (const entry of entries) {
      if (!(await this.#try([entry], () => take(entry)))) left.push(entry);
    }
    return left;
  }

  async #remove({ kind, name, removals }: SharedEntry): Promise<void> {
    const { exchange, namespace, peerId } = this.#options;
    const kept = await exchange.takeRemoval(namespace, kind, name, removals);
    if (kept === "") return;
    throw new Kept(
      sharingReasons.removed,
      `collector ${peerId} has removed it, and it stays here: ${kept}. Unregister it here as well, or register it here again and it comes back there`,
    );
  }

  async #takeService({ name, fileName, origin, removals }: SharedEntry): Promise<void> {
    const { exchange, namespace } = this.#options;
    // A service of the same name that is another one there must not become callable by that.
    const file = this.#conflicts.get(`file ${fileName}`);
    if (file !== undefined) throw new Kept(file.reason, `its file ${fileName} is in conflict`);
    await exchange.takeService(namespace, { name, fileName, origin, removals });
  }

  async #takeAll(files: readonly FileToTake[]): Promise<FileToTake[]> {
    const left: FileToTake[] = [];
    for (let at = 0; at < files.length; ) {
      let end = at;
      let versions = 0;
      do {
        versions += files[end]?.missing.length ?? 0;
        end += 1;
      } while (
        end < files.length &&
        versions + (files[end]?.missing.length ?? 0) <= batchVersionsMax
      );
      const batch = await this.#read(files.slice(at, end));
      left.push(...(await this.#takeTogether(batch)));
      at = end;
    }
    return left;
  }

  /** Reads the versions of files; a file whose last one does not come is in conflict. */
  async #read(files: readonly FileToTake[]): Promise<ReadFile[]> {
    const { peer, namespace } = this.#options;
    const wanted = files.flatMap(({ entry: { name }, missing }) =>
      missing.map((hash) => ({ name, hash })),
    );
    const found = await peer.read(namespace, wanted);
    const result: ReadFile[] = [];
    let at = 0;
    for (const file of files) {
      const { entry, basis, missing } = file;
      const versions: TakenVersion[] = [];
      for (const [place] of missing.entries()) {
        const version = found.get(at + place);
        if (version !== undefined) versions.push(version);
      }
      const hasLast = found.has(at + missing.length - 1);
      at += missing.length;
      if (hasLast) {
        const { name, removals } = entry;
        result.push({ wanted: file, taken: { name, basis, versions, removals } });
      } else {
        const text = "it is too large (descriptorBytesMax), or is not there any more";
        this.#note(entry, "SCHEMA_LIMIT_EXCEEDED", text);
      }
    }
    return result;
  }

  /** All at once if that is possible, as types may have moved; else what belongs together, and then one by one. */
  async #takeTogether(batch: readonly ReadFile[]): Promise<FileToTake[]> {
    if (batch.length === 0 || (await this.#take(batch))) return [];
    const parts = componentsOf(batch);
    const smaller = parts.length > 1 ? parts : batch.map((file) => [file]);
    if (batch.length === 1) return batch.map(({ wanted }) => wanted);
    const left: FileToTake[] = [];
    for (const part of smaller) {
      if (part.length === 1) {
        if (!(await this.#take(part))) left.push(...part.map(({ wanted }) => wanted));
      } else left.push(...(await this.#takeTogether(part)));
    }
    return left;
  }

  async #take(batch: readonly ReadFile[]): Promise<boolean> {
    const { exchange, namespace } = this.#options;
    const entries = batch.map(({ wanted }) => wanted.entry);
    return await this.#try(entries, async () => {
      const isDone = await exchange.takeFiles(
        namespace,
        batch.map(({ taken }) => taken),
      );
      if (!isDone) this.#isOutdated = true;
    });
  }

  /** Of files that both have altered, the ones whose other version holds all that is in the one here. */
  async #settle(diverged: readonly DivergedFile[]): Promise<Settled> {
    const { exchange, peer, namespace } = this.#options;
    const result: Settled = { files: [], services: [], left: [] };
    for (let at = 0; at < diverged.length; at += batchVersionsMax) {
      const batch = diverged.slice(at, at + batchVersionsMax);
      const wanted = batch.map(({ entry }) => ({
        name: entry.name,
        hash: entry.versions.at(-1) ?? "",
      }));
      const found = await peer.read(namespace, wanted);
      for (const [place, file] of batch.entries()) {
        const { name, versions } = file.ours;
        const here = exchange.version(namespace, name, versions.at(-1) ?? "")?.source;
        const there = found.get(place)?.source;
        if (here === undefined || there === undefined) this.#isOutdated = true;
        else await this.#decide(file, { here, there }, result);
      }
    }
    return result;
  }

  async #decide(
    file: DivergedFile,
    { here, there }: { readonly here: Uint8Array; readonly there: Uint8Array },
    result: Settled,
  ): Promise<void> {
    const { entry, ours } = file;
    const isNew = entry.removals > ours.removals;
    const [lost, won] = [safeLossOf(here, there), safeLossOf(there, here)];
    if (lost === undefined && (won !== undefined || isNew)) {
      const basis = ours.versions.at(-1) ?? "";
      result.files.push({ entry, basis, missing: entry.versions.slice(-1) });
      return;
    }
    if (isNew) {
      if (await this.#makeRoom(entry, result)) return;
    } else if (lost !== undefined && won === undefined) return;
    const { peerId } = this.#options;
    const what = lost ?? "they differ in what no rule of compatibility is about";
    this.#note(
      entry,
      sharingReasons.altered,
      `it is another one at collector ${peerId}, and neither follows the other: ${what}. Register a version that holds all of both, at either end, or unregister one of them`,
    );
    result.left.push(file);
  }

  /** What was removed and registered anew there takes the place of what was taken over before. */
  async #makeRoom(entry: SharedEntry, result: Settled): Promise<boolean> {
    const { exchange, namespace } = this.#options;
    const { kind, name, removals } = entry;
    if (exchange.isOwn(namespace, kind, name)) return false;
    for (const service of this.#services) {
      const count = this.#ours.get(keyOf(service))?.removals;
      if (service.fileName !== name || count === undefined || count >= service.removals) continue;
      const kept = await exchange.takeRemoval(namespace, "service", service.name, service.removals);
      if (kept === "") result.services.push(service);
    }
    if ((await exchange.takeRemoval(namespace, kind, name, removals)) !== "") return false;
    result.files.push({ entry, basis: "", missing: entry.versions });
    return true;
  }

  /** @returns false, and notes why, if it was refused */
  async #try(entries: readonly SharedEntry[], work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof CollectorError || error instanceof Kept)) throw error;
      for (const entry of entries) this.#note(entry, error.reason, error.message);
      return false;
    }
    for (const entry of entries) this.#conflicts.delete(keyOf(entry));
    this.#taken += entries.length;
    return true;
  }

  #note(entry: SharedEntry, reason: string, message: string): void {
    const { namespace } = this.#options;
    const { kind, name } = entry;
    const version = this.#ours.get(keyOf(entry))?.version ?? 0n;
    const text =
      message.length > messageCharsMax ? `${message.slice(0, messageCharsMax)}…` : message;
    const conflict = {
      namespace,
      kind,
      name,
      version,
      peerVersion: entry.version,
      reason,
      message: text,
    };
    this.#conflicts.set(keyOf(entry), conflict);
  }
}

const messageCharsMax = 1000;

/** What was removed elsewhere stays here. */
class Kept extends Error {
  override readonly name = "Kept";
  readonly reason: string;

  constructor(reason: string, message: string) {
    super(message);
    this.reason = reason;
  }
}

/** What comes from elsewhere may be no descriptor at all: then it takes the place of nothing. */
function safeLossOf(before: Uint8Array, after: Uint8Array): string | undefined {
  try {
    return lossOf(before, after);
  } catch (error) {
    return `it cannot be read: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Files that import each other, directly or not. */
function componentsOf(files: readonly ReadFile[]): ReadFile[][] {
  const groupOf = new Map<string, ReadFile[]>();
  for (const file of files) groupOf.set(file.taken.name, [file]);
  for (const { taken } of files) {
    for (const imported of safeImportsOf(taken.versions.at(-1)?.source)) {
      const [group, other] = [groupOf.get(taken.name), groupOf.get(imported)];
      if (group === undefined || other === undefined || group === other) continue;
      const [small, large] = group.length < other.length ? [group, other] : [other, group];
      large.push(...small);
      for (const { taken: moved } of small) groupOf.set(moved.name, large);
    }
  }
  const order = new Map(files.map((file, at) => [file, at]));
  const place = (file: ReadFile): number => order.get(file) ?? 0;
  return [...new Set(groupOf.values())].map((group) => group.sort((a, b) => place(a) - place(b)));
}

function safeImportsOf(source: Uint8Array | undefined): readonly string[] {
  try {
    return source === undefined ? [] : importsOf(source);
  } catch {
    // It is refused when it is taken.
    return [];
  }
}

function keyOf({ kind, name }: SharedEntry): string {
  return `${kind} ${name}`;
}
