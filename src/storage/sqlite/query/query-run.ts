import type { Condition, QueryRun, ValueSource } from "../../record-query.ts";
import type { QueryContext } from "./condition-sql.ts";

/** Rows from which on it is worth saying which index would have spared them. */
const manyRows = 1000;
/** And this many times what was answered. */
const wasteFactor = 10;

/** Notes what a query does, for who wants to know. */
export class RunLog {
  readonly #steps: string[] = [];
  readonly #indexes = new Set<string>();
  readonly #startMs: number = performance.now();

  step(text: string): void {
    this.#steps.push(text);
  }

  useIndexes(names: readonly string[]): void {
    for (const name of names) this.#indexes.add(name);
  }

  /** @param wanted what indexes could have been used for; named only if they would have helped. */
  finish(done: {
    readonly rowsVisited: number;
    readonly answered: number;
    readonly wanted: readonly string[];
  }): QueryRun {
    const { rowsVisited, answered, wanted } = done;
    const wasteful = rowsVisited > Math.max(manyRows, answered * wasteFactor);
    return {
      steps: this.#steps,
      indexes: [...this.#indexes],
      rowsVisited,
      runTimeUs: Math.round((performance.now() - this.#startMs) * 1000),
      suggestedIndexes: wasteful ? [...new Set(wanted)] : [],
    };
  }
}

/** The sources of a condition and an order that could have an index, and have none. */
export function missingIndexes(
  where: Condition | undefined,
  firstKey: ValueSource | undefined,
  { indexes }: QueryContext,
): string[] {
  const sources = where === undefined ? [] : topSources(where);
  if (firstKey !== undefined) sources.push(firstKey);
  return sources.flatMap((source) =>
    source.kind === "field" && source.index !== undefined && !indexes.has(source.index)
      ? source.index
      : [],
  );
}

/** Where an index would narrow down what has to be looked at. */
function topSources(condition: Condition): ValueSource[] {
  switch (condition.kind) {
    case "compare":
    case "in":
    case "prefix":
      return [condition.source];
    case "and":
    case "or":
      return condition.conditions.flatMap(topSources);
    default:
      return [];
  }
}

/** How many, in words. */
export function counted(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? "" : "s"}`;
}
