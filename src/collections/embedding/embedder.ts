/** Makes vectors of texts: texts of similar meaning get vectors of similar direction. */
export interface Embedder extends AsyncDisposable {
  /** Names the model. Vectors of different models do not compare. */
  readonly name: string;
  readonly dimensions: number;

  /**
   * One vector of length 1 per text, in their order; of length 0, near to nothing, for a text without
   * content. The model says how much of a long text it takes in.
   *
   * @throws {CollectorError} EMBEDDER_UNAVAILABLE; CANCELLED
   */
  embed(texts: readonly string[], signal?: AbortSignal): Promise<readonly Float32Array[]>;
}
