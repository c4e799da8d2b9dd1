import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { benchmarks } from "../../bench/all.ts";
import { Report } from "../../bench/harness.ts";

// The figures of so short a run mean nothing: this is here so that no benchmark rots.
describe("for a moment", () => {
  for (const benchmark of benchmarks) {
    it(`the benchmark "${benchmark.name}" runs`, { timeout: 120_000 }, async () => {
      const report = new Report(() => undefined);
      await benchmark.run(report, true);
      assert.ok(report.figures.length > 0);
      for (const { name, value } of report.figures) assert.ok(Number.isFinite(value), name);
    });
  }
});
