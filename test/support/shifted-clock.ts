// Loaded into a server by `--import`: its wall clock is COLLECTOR_TEST_CLOCK_SHIFT_MS ahead of the machine's.
const shiftMs = Number(process.env["COLLECTOR_TEST_CLOCK_SHIFT_MS"] ?? 0);
const RealDate = Date;

const realNow = (): number => RealDate.now();

class ShiftedDate extends RealDate {
  constructor(...given: readonly unknown[]) {
    if (given.length === 0) super(realNow() + shiftMs);
    else super(...(given as [number]));
  }

  static override now(): number {
    return realNow() + shiftMs;
  }
}

globalThis.Date = ShiftedDate as DateConstructor;
