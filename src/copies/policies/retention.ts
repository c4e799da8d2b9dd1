/** A backup, as far as it matters for what is removed. */
export interface RetainedBackup {
  readonly id: string;
  /** What it is of: of each, the newest valid backup stays. */
  readonly of: string;
  /** The moment that it is of. */
  readonly momentUs: bigint;
  /** Empty: it holds everything. */
  readonly baseId: string;
  /** False if something is known to be wrong with its archive. What it is based on counts too. */
  readonly isSound: boolean;
  /** True while it is read. */
  readonly isHeld: boolean;
}

/** How many to keep; a backup is kept if any of these keeps it. */
export interface KeepRules {
  readonly last: number;
  /** Undefined: none by their age. */
  readonly withinUs: bigint | undefined;
  readonly daily: number;
  readonly weekly: number;
  readonly monthly: number;
}

const dayUs = 86_400_000_000n;

/** What is known of all backups together: which are valid, and the order of their ages. */
export class BackupChains<B extends RetainedBackup> {
  /** The newest first. */
  readonly backups: readonly B[];
  readonly #nowUs: bigint;
  readonly #byId: ReadonlyMap<string, B>;
  /** By id, as far as somebody has asked. */
  readonly #validity = new Map<string, boolean>();

  constructor(backups: readonly B[], nowUs: bigint) {
    this.#nowUs = nowUs;
    this.backups = [...backups].sort(newestFirst);
    this.#byId = new Map(backups.map((backup) => [backup.id, backup]));
  }

  /** The backup, what it is based on, what that is based on, and so on; as far as it is there. */
  chainOf(backup: B): readonly B[] {
    const chain = [backup];
    const seen = new Set([backup.id]);
    for (let at = this.#baseOf(backup); at !== undefined && !seen.has(at.id); ) {
      chain.push(at);
      seen.add(at.id);
      at = this.#baseOf(at);
    }
    return chain;
  }

  /** True if it can be restored, as far as is known: all of its chain is there and sound. */
  isValid(backup: B): boolean {
    const known = this.#validity.get(backup.id);
    if (known !== undefined) return known;
    const chain = this.chainOf(backup);
    // The base first, as what is based on it is valid only if it is.
    let isValid = chain.at(-1)?.baseId === "";
    for (const link of chain.toReversed()) {
      isValid &&= link.isSound;
      this.#validity.set(link.id, isValid);
    }
    return isValid;
  }

  /** How long ago the moment is that a backup is of. */
  ageUs({ momentUs }: B): bigint {
    return this.#nowUs - momentUs;
  }

  /**
   * True if its moment has yet to come: the clock was ahead when it was made, or its archive tells a tale.
   * Nobody knows how old it is until then, so nothing that is may be removed for its sake.
   */
  isAhead(backup: B): boolean {
    return this.ageUs(backup) < 0n;
  }

  /** The newest valid backup of each whose moment has come. */
  newestValid(isCounted: (backup: B) => boolean = () => true): B[] {
    return this.#newestValid((backup) => isCounted(backup) && !this.isAhead(backup));
  }

  /**
   * What no rule removes: the newest valid backup of each, and the newest valid one among the counted. Where
   * that is one whose moment has yet to come, the newest of the others too.
   */
  lasting(isCounted: (backup: B) => boolean): B[] {
    const ofAll = [...this.#newestValid(() => true), ...this.newestValid()];
    return [...ofAll, ...this.#newestValid(isCounted), ...this.newestValid(isCounted)];
  }

  #newestValid(isCounted: (backup: B) => boolean): B[] {
    const found = new Map<string, B>();
    for (const backup of this.backups) {
      if (!found.has(backup.of) && isCounted(backup) && this.isValid(backup)) {
        found.set(backup.of, backup);
      }
    }
    return [...found.values()];
  }

  /**
   * What of the unwanted can go. The {@link lasting} ones stay; all of what has no valid backup whose moment
   * has come; what is being read; and what a backup that stays is based on.
   *
   * @returns in an order in which they can be removed: none before what is based on it
   */
  removable(unwanted: ReadonlySet<string>, isCounted: (backup: B) => boolean): B[] {
    const hasValid = new Set(this.newestValid().map((backup) => backup.of));
    const staying = new Set<string>();
    const stay = (backup: B): void => {
      for (let at: B | undefined = backup; at !== undefined && !staying.has(at.id); ) {
        staying.add(at.id);
        at = this.#baseOf(at);
      }
    };
    for (const backup of this.lasting(isCounted)) stay(backup);
    for (const backup of this.backups) {
      if (!unwanted.has(backup.id) || backup.isHeld || !hasValid.has(backup.of)) stay(backup);
    }
    return this.backups
      .filter(({ id }) => !staying.has(id))
      .map((backup) => ({ backup, depth: this.chainOf(backup).length }))
      .sort((one, other) => other.depth - one.depth)
      .map(({ backup }) => backup);
  }

  #baseOf({ baseId }: B): B | undefined {
    return baseId === "" ? undefined : this.#byId.get(baseId);
  }
}

/**
 * The counted backups that no rule keeps. Rules count by what a backup is of. Those that are not valid
 * are kept by their age alone, and those whose moment has yet to come by any rule: they take no other's place.
 */
export function unwantedBy<B extends RetainedBackup>(
  rules: KeepRules,
  chains: BackupChains<B>,
  isCounted: (backup: B) => boolean,
): ReadonlySet<string> {
  const { last, withinUs, daily, weekly, monthly } = rules;
  if (last === 0 && withinUs === undefined && daily + weekly + monthly === 0) return new Set();
  const counters = new Map<string, readonly PeriodCounter[]>();
  const countersOf = (of: string): readonly PeriodCounter[] => {
    const known = counters.get(of);
    if (known !== undefined) return known;
    const fresh = [
      new PeriodCounter(last, ({ id }) => id),
      new PeriodCounter(daily, ({ momentUs }) => String(dayOf(momentUs))),
      // Day 0 was a Thursday, so that weeks begin three days before those of the number.
      new PeriodCounter(weekly, ({ momentUs }) => String(floorDiv(dayOf(momentUs) + 3n, 7n))),
      new PeriodCounter(monthly, ({ momentUs }) => monthOf(momentUs)),
    ];
    counters.set(of, fresh);
    return fresh;
  };
  const unwanted = new Set<string>();
  for (const backup of chains.backups) {
    if (!isCounted(backup) || chains.isAhead(backup)) continue;
    const isYoung = withinUs !== undefined && chains.ageUs(backup) < withinUs;
    // Every counter has to see every valid backup.
    const keeping = chains.isValid(backup)
      ? countersOf(backup.of).filter((counter) => counter.keeps(backup))
      : [];
    if (!isYoung && keeping.length === 0) unwanted.add(backup.id);
  }
  return unwanted;
}

/** Keeps the first of each period, for so many periods, as they come. */
class PeriodCounter {
  readonly #max: number;
  readonly #periodOf: (backup: RetainedBackup) => string;
  readonly #seen = new Set<string>();

  constructor(max: number, periodOf: (backup: RetainedBackup) => string) {
    this.#max = max;
    this.#periodOf = periodOf;
  }

  keeps(backup: RetainedBackup): boolean {
    if (this.#seen.size >= this.#max) return false;
    const period = this.#periodOf(backup);
    if (this.#seen.has(period)) return false;
    this.#seen.add(period);
    return true;
  }
}

function newestFirst(one: RetainedBackup, other: RetainedBackup): number {
  if (one.momentUs !== other.momentUs) return one.momentUs > other.momentUs ? -1 : 1;
  return one.id > other.id ? -1 : 1;
}

function dayOf(momentUs: bigint): bigint {
  return floorDiv(momentUs, dayUs);
}

function monthOf(momentUs: bigint): string {
  const date = new Date(Number(momentUs / 1000n));
  return `${date.getUTCFullYear()}-${date.getUTCMonth()}`;
}

function floorDiv(value: bigint, by: bigint): bigint {
  const quotient = value / by;
  return value % by < 0n ? quotient - 1n : quotient;
}
