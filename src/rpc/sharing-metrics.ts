import { Counter, Gauge, type Registry } from "prom-client";

/** What there is to tell of shared registrations when somebody asks. */
export interface SharingFacts {
  /** Registrations in conflict, by the id of the linked collector; of every link. */
  readonly conflicts: () => Iterable<readonly [collectorId: string, count: number]>;
  /** Files, services and removals that were taken over since the start. */
  readonly taken: () => number;
}

/** How the sharing of registrations with linked collectors goes. */
export class SharingMetrics {
  #facts: SharingFacts | undefined;

  constructor(registry: Registry) {
    const registers = [registry];
    const facts = (): SharingFacts | undefined => this.#facts;
    const conflicts = new Gauge({
      name: "collector_registration_conflicts",
      help: "Registrations that are not the same at a linked collector, and where this one cannot follow.",
      labelNames: ["collector"],
      registers,
      collect: () => {
        conflicts.reset();
        for (const [collector, count] of facts()?.conflicts() ?? []) {
          conflicts.set({ collector }, count);
        }
      },
    });
    const taken = new Counter({
      name: "collector_registrations_taken_over_total",
      help: "Files, services and removals that were taken over from linked collectors.",
      registers,
      collect: () => {
        taken.reset();
        taken.inc(facts()?.taken() ?? 0);
      },
    });
  }

  /** Says where the facts are that are asked for at each reading. */
  follow(facts: SharingFacts): void {
    this.#facts = facts;
  }
}
