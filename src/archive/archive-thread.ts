import { lowerThreadPriority } from "../lib/priority.ts";

// The main module of a thread for archives. What it works with is loaded at the low priority too: that takes a
// tenth of a second. Manifests are read at it as well, which come to little: there is no way back up.
lowerThreadPriority("whenever");
await import("./archive-work.ts");
