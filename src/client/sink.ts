/** Takes bytes piece by piece. */
export interface Sink {
  write(bytes: Uint8Array): Promise<void>;
  /** It is whole. */
  finish(): Promise<void>;
  /** It will not be. */
  discard(): Promise<void>;
}
