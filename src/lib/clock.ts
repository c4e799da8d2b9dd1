/** Where times come from. */
export interface Clock {
  /** Unix time in microseconds. */
  nowUs(): bigint;
}

/** The system's clock, exact to a millisecond. */
export const systemClock: Clock = {
  nowUs: () => BigInt(Date.now()) * 1000n,
};
