import { formatBytes } from "./output.ts";

export interface ProgressOptions {
  /** What happens, as in `uploading front.jpg`. */
  readonly label: string;
  /** How much there is to do; undefined if that is not known. */
  readonly total: number | undefined;
  /** Where to show it. Nothing is shown unless it is a terminal. */
  readonly stream: NodeJS.WriteStream;
  /** Shows nothing below so much, done or to do. */
  readonly showFrom?: number;
  /** How a number is written; as bytes by default. Undefined: only the part that is done is shown. */
  readonly format?: ((count: number) => string) | undefined;
}

/** How often the line is drawn, in ms. */
const drawEveryMs = 100;

const barChars = 24;

/** Of a terminal that does not know its own width. */
const columnsDefault = 80;

/**
 * One line on a terminal that says how far something has come. Disposing it takes the line away, so
 * that what is written next begins at the left.
 */
export class Progress implements Disposable {
  readonly #options: ProgressOptions;
  readonly #startMs = performance.now();
  #label: string;
  #done = 0;
  #total: number | undefined;
  #drawnMs = Number.NEGATIVE_INFINITY;
  #isShown = false;

  constructor(options: ProgressOptions) {
    this.#options = options;
    this.#label = options.label;
    this.#total = options.total;
  }

  /** So much more is done. */
  add(count: number): void {
    this.#done += count;
    this.#draw();
  }

  /** So much is done of so much, of what the label says. */
  set(label: string, done: number, total: number | undefined): void {
    this.#label = label;
    this.#done = done;
    this.#total = total;
    this.#draw();
  }

  #draw(): void {
    const { stream, showFrom = 0 } = this.#options;
    if (!stream.isTTY || Math.max(this.#done, this.#total ?? 0) < showFrom) return;
    const nowMs = performance.now();
    if (nowMs - this.#drawnMs < drawEveryMs) return;
    this.#drawnMs = nowMs;
    this.#isShown = true;
    const columns = stream.columns > 0 ? stream.columns : columnsDefault;
    stream.write(`\r\u001b[K${this.#line(nowMs).slice(0, Math.max(columns - 1, 20))}`);
  }

  [Symbol.dispose](): void {
    if (this.#isShown) this.#options.stream.write("\r\u001b[K");
    this.#isShown = false;
  }

  #line(nowMs: number): string {
    const label = this.#label;
    const total = this.#total;
    const { format = "format" in this.#options ? undefined : bytes } = this.#options;
    const seconds = Math.max((nowMs - this.#startMs) / 1000, 0.001);
    const rate = format === undefined ? "" : `${format(Math.round(this.#done / seconds))}/s`;
    if (total === undefined || total === 0) {
      return format === undefined ? label : `${label}  ${format(this.#done)}  ${rate}`;
    }
    const part = Math.min(this.#done / total, 1);
    const full = Math.round(part * barChars);
    const bar = "█".repeat(full) + "░".repeat(barChars - full);
    const percent = `${Math.floor(part * 100)}%`.padStart(4);
    if (format === undefined) return `${label}  ${bar} ${percent}`;
    return `${label}  ${bar} ${percent}  ${format(this.#done)} of ${format(total)}  ${rate}`;
  }
}

function bytes(count: number): string {
  return formatBytes(BigInt(count));
}

/** Passes items on and counts them. */
export async function* counted<T>(
  items: AsyncIterable<T>,
  progress: Progress,
  countOf: (item: T) => number,
): AsyncIterable<T> {
  for await (const item of items) {
    yield item;
    progress.add(countOf(item));
  }
}
