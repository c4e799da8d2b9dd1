import type { PathStep } from "../field-paths.ts";
import { MessagePlan } from "./message-plan.ts";
import { type Sink, type Slot, Slots } from "./slots.ts";

/** What a path leads to: a value, or a whole field with its items or entries. */
export interface WalkTarget {
  readonly value: Slot;
  /** Writes its JSON into nowhere, and its text into the sink. */
  readonly write: (value: Slot, sink: Sink) => unknown;
}

/** Finds what a path leads to in a message that was read; in lists on the way, in each item. */
export type ValueWalk = (message: Slots, visit: (target: WalkTarget) => void) => void;

/** Compiles a path, once for all records. @param steps at least one */
export function compileWalk(steps: readonly PathStep[]): ValueWalk {
  const [step, ...rest] = steps;
  if (step === undefined) throw new Error("a path has no steps");
  const { field, key } = step;
  const { slot, item, write } = MessagePlan.of(field.parent).field(field.name);
  const next = rest.length === 0 ? undefined : compileWalk(rest);
  const enter = (value: Slot, visit: (target: WalkTarget) => void): void => {
    if (value === undefined) return;
    if (next === undefined) visit({ value, write: item.write });
    else if (value instanceof Slots) next(value, visit);
  };
  const walk: ValueWalk = (message, visit) => {
    const value = message.values[slot];
    if (value === undefined) return;
    if (value instanceof Map && key !== undefined) {
      enter(value.get(key), visit);
    } else if (next === undefined) {
      visit({ value, write });
    } else if (value instanceof Map) {
      for (const entry of value.values()) next(entry as Slots, visit);
    } else if (Array.isArray(value)) {
      for (const entry of value) enter(entry, visit);
    } else {
      enter(value, visit);
    }
  };
  return field.parent.typeName === "google.protobuf.Value" ? throughItems(step, walk) : walk;
}

/** In JSON a step into an object is taken in each item of a list, too. */
function throughItems({ field }: PathStep, walk: ValueWalk): ValueWalk {
  const value = MessagePlan.of(field.parent);
  const list = value.field("list_value");
  const values = MessagePlan.of(field.parent.field["listValue"]?.message ?? field.parent).field(
    "values",
  );
  const each: ValueWalk = (message, visit) => {
    const held = message.values[list.slot];
    if (!(held instanceof Slots)) return walk(message, visit);
    const items = held.values[values.slot];
    if (!Array.isArray(items)) return undefined;
    for (const item of items) if (item instanceof Slots) each(item, visit);
    return undefined;
  };
  return each;
}
