import type { Condition, FieldValue, ValueSource } from "../../storage/record-query.ts";
import {
  compileCondition,
  EvaluatedRecord,
  isValue,
  type Predicate,
  valueKey,
} from "./evaluate.ts";
import type { FeedEvent, LiveChange } from "./feed-event.ts";

/** Who is told of changes. */
export interface Listener {
  /** Must not throw or wait. */
  push(event: FeedEvent): void;
  /** What comes cannot be told: the history has to be read instead. */
  lapse(): void;
}

/** A value that a record must have at a source, before or after a change, for the change to matter. */
interface Anchor {
  readonly source: ValueSource;
  readonly value: FieldValue;
}

/** Listeners with the same condition: it is judged once for all of them. */
interface Group {
  readonly condition: Condition;
  readonly matches: Predicate;
  readonly listeners: Set<Listener>;
  /** The last change that was judged, as several values may lead here. */
  judged: bigint;
}

/** Groups by the value that their condition asks for at one source. */
interface Anchored {
  readonly source: ValueSource;
  readonly groups: Map<FieldValue, Set<Group>>;
}

/**
 * Those who listen, grouped by what they listen for. A condition that holds only where one of some
 * values is found costs nothing but a look-up for changes without them, however many there are.
 */
export class FilterGroups {
  readonly #unfiltered = new Set<Listener>();
  readonly #groups = new Map<string, Group>();
  /** By the source's key. */
  readonly #anchored = new Map<string, Anchored>();
  /** Groups that every change has to be shown to. */
  readonly #loose = new Set<Group>();

  /** Whether anyone has a filter. */
  get hasFilters(): boolean {
    return this.#groups.size > 0;
  }

  add(listener: Listener, condition: Condition): void {
    if (condition.kind === "always") {
      this.#unfiltered.add(listener);
      return;
    }
    const key = keyOf(condition);
    let group = this.#groups.get(key);
    if (group === undefined) {
      const matches = compileCondition(condition);
      group = { condition, matches, listeners: new Set(), judged: -1n };
      this.#groups.set(key, group);
      this.#anchor(group);
    }
    group.listeners.add(listener);
  }

  remove(listener: Listener, condition: Condition): void {
    if (condition.kind === "always") {
      this.#unfiltered.delete(listener);
      return;
    }
    const key = keyOf(condition);
    const group = this.#groups.get(key);
    group?.listeners.delete(listener);
    if (group === undefined || group.listeners.size > 0) return;
    this.#groups.delete(key);
    this.#unanchor(group);
  }

  /** Tells everyone whom a change is about. */
  tell(change: LiveChange): void {
    const { kind, revision, id, record } = change;
    if (this.#unfiltered.size > 0) {
      const event: FeedEvent = { kind, revision, id, record };
      for (const listener of this.#unfiltered) listener.push(event);
    }
    if (this.#groups.size === 0) return;
    if (!change.isKnown) {
      for (const { listeners } of this.#groups.values()) {
        for (const listener of listeners) listener.lapse();
      }
      return;
    }
    const before = change.before && new EvaluatedRecord(change.before);
    const after = change.after && new EvaluatedRecord(change.after);
    for (const group of this.#loose) judge(group, change, before, after);
    for (const { source, groups } of this.#anchored.values()) {
      for (const record of [before, after]) {
        for (const found of record?.at(source) ?? []) {
          if (!isValue(found)) continue;
          for (const group of groups.get(valueKey(found)) ?? []) {
            judge(group, change, before, after);
          }
        }
      }
    }
  }

  #anchor(group: Group): void {
    const anchors = anchorsOf(group.condition);
    if (anchors === undefined) {
      this.#loose.add(group);
      return;
    }
    for (const { source, value } of anchors) {
      const key = sourceKey(source);
      let anchored = this.#anchored.get(key);
      if (anchored === undefined) {
        anchored = { source, groups: new Map() };
        this.#anchored.set(key, anchored);
      }
      const groups = anchored.groups.get(valueKey(value));
      if (groups === undefined) anchored.groups.set(valueKey(value), new Set([group]));
      else groups.add(group);
    }
  }

  #unanchor(group: Group): void {
    this.#loose.delete(group);
    for (const { source, value } of anchorsOf(group.condition) ?? []) {
      const key = sourceKey(source);
      const anchored = this.#anchored.get(key);
      const groups = anchored?.groups.get(valueKey(value));
      groups?.delete(group);
      if (groups?.size === 0) anchored?.groups.delete(valueKey(value));
      if (anchored?.groups.size === 0) this.#anchored.delete(key);
    }
  }
}

function judge(
  group: Group,
  { kind, revision, id, record }: LiveChange,
  before: EvaluatedRecord | undefined,
  after: EvaluatedRecord | undefined,
): void {
  if (group.judged === revision) return;
  group.judged = revision;
  const matched = before !== undefined && group.matches(before);
  const matches = after !== undefined && group.matches(after);
  if (!matched && !matches) return;
  const told = matches ? (matched ? "updated" : "created") : kind === "deleted" ? kind : "left";
  const event: FeedEvent = { kind: told, revision, id, record };
  for (const listener of group.listeners) listener.push(event);
}

/** Values of which a record must have one for a condition to hold; undefined if there are no such. */
function anchorsOf(condition: Condition): readonly Anchor[] | undefined {
  switch (condition.kind) {
    case "never":
      return [];
    case "compare":
      if (condition.operator !== "eq") return undefined;
      return [{ source: condition.source, value: condition.value }];
    case "in":
      return condition.values.map((value) => ({ source: condition.source, value }));
    case "and": {
      const parts = condition.conditions.map(anchorsOf).filter((part) => part !== undefined);
      return parts.toSorted((a, b) => a.length - b.length)[0];
    }
    case "or": {
      const parts = condition.conditions.map(anchorsOf);
      const known = parts.filter((part) => part !== undefined);
      return known.length === parts.length ? known.flat() : undefined;
    }
    case "always":
    case "not":
    case "substring":
    case "prefix":
    case "exists":
      return undefined;
    default:
      return condition satisfies never;
  }
}

function sourceKey(source: ValueSource): string {
  return source.kind === "field" ? JSON.stringify(source.steps) : JSON.stringify(source);
}

/** The same for conditions that are written alike. */
function keyOf(condition: Condition): string {
  return JSON.stringify(condition, (_key, value: unknown) =>
    typeof value === "bigint" ? { bigint: String(value) } : value,
  );
}
