/** What a check found. */
export interface Finding {
  /** What was looked at, in two words. */
  readonly name: string;
  readonly state: "ok" | "warning" | "failed";
  /** What was found, with the figure. */
  readonly detail: string;
  /** What to do about it; empty if nothing has to be done. */
  readonly mend: string;
}

export function fine(name: string, detail: string): Finding {
  return { name, state: "ok", detail, mend: "" };
}

export function warning(name: string, detail: string, mend: string): Finding {
  return { name, state: "warning", detail, mend };
}

export function failed(name: string, detail: string, mend: string): Finding {
  return { name, state: "failed", detail, mend };
}
