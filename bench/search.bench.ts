import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { glob, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  ListRequestSchema,
  ListResponseSchema,
  RequestOpSchema,
  SearchRequestSchema,
  SearchResponseSchema,
  TextSyntax,
} from "../src/gen/collector/collection_server_pb.ts";
import { callRaw, connectRaw, frame } from "../test/support/raw-call.ts";
import type { DirectAnswer, DirectQuery } from "./baseline/direct-queries.ts";
import { type BenchServer, benchServer } from "./bench-server.ts";
import { type Benchmark, main, median, type Report } from "./harness.ts";
import { articleFile, articleItem, articleTypeName, wordOf } from "./load/articles.ts";
import { load } from "./load/load.ts";
import { recordId } from "./load/sources.ts";

const sizes = [100_000, 1_000_000];
const name = "articles";
const service = "/collector.CollectionService";
const fillBatch = 500;
const fillInFlight = 4;
const pageSize = 10;

/** What users search for: the call, and the same by the best plan that is known. */
interface Case {
  readonly title: string;
  readonly call: Call;
  readonly direct: Omit<DirectQuery, "runs">;
  /** Longest p50 in ms with 100 k records. */
  readonly atMostMs?: number;
}

type Call =
  | {
      readonly method: "Search";
      readonly request: MessageInitShape<typeof SearchRequestSchema>;
    }
  | { readonly method: "List"; readonly request: MessageInitShape<typeof ListRequestSchema> };

/** Words of these ranks stand in most records, in one of a hundred, in one of ten thousand. */
const common = wordOf(0);
const mid = wordOf(400);
const rare = wordOf(30_000);

function casesOf(): readonly Case[] {
  const text = (title: string, words: string, match: string, atMostMs: number): Case => ({
    title,
    call: { method: "Search", request: { fullText: words } },
    direct: { name: "text", parameters: [match] },
    atMostMs,
  });
  const advanced = (title: string, query: string, match: string): Case => ({
    title,
    call: { method: "Search", request: { fullText: query, textSyntax: TextSyntax.ADVANCED } },
    direct: { name: "text", parameters: [match] },
    atMostMs: 10,
  });
  return [
    text("rare term", rare, `"${rare}"`, 10),
    text("mid term", mid, `"${mid}"`, 10),
    text("commonest term", common, `"${common}"`, 50),
    text("two terms", `${wordOf(20)} ${mid}`, `"${wordOf(20)}" "${mid}"`, 10),
    advanced("phrase", `"${wordOf(1)} ${wordOf(30)}"`, `"${wordOf(1)} ${wordOf(30)}"`),
    advanced("prefix", `${mid.slice(0, 5)}*`, `"${mid.slice(0, 5)}"*`),
    {
      title: "mid term and filter",
      call: { method: "Search", request: { fullText: wordOf(60), where: 'category = "c7"' } },
      direct: { name: "filteredText", parameters: [`"${wordOf(60)}"`, "c7"] },
      atMostMs: 10,
    },
    {
      title: "indexed filter and order",
      call: { method: "List", request: { where: 'category = "c7"', orderBy: "price_cents" } },
      direct: { name: "filterAndOrder", parameters: ["c7"] },
    },
    {
      title: "indexed order, page 1",
      call: { method: "List", request: { orderBy: "price_cents" } },
      direct: { name: "order", parameters: [1] },
    },
  ];
}

export const searchBenchmark: Benchmark = {
  name: "search",
  about:
    "Median of searches and lists through gRPC, against the best known SQL for the same run directly in one process.",
  async run(report, quick) {
    for (const records of quick ? [2_000] : sizes) {
      await using server = await benchServer();
      await fill(server, records);
      await using direct = await DirectProcess.start(await storePath(server.dataFolder));
      using connection = connectRaw(server.url);
      const label = records >= 1e6 ? `${records / 1e6} M` : `${records / 1e3} k`;
      const measure = async ({ title, call, direct: query, atMostMs }: Case) => {
        const body = frame(encode(call));
        const ours: number[] = [];
        const theirs: number[] = [];
        let ids: readonly string[] = [];
        let recall: number | undefined;
        // In turns, so that what else the machine does falls on both.
        for (let round = 0; round < (quick ? 1 : 5); round += 1) {
          // Neither is cold when it counts.
          if (round === 1) for (const times of [ours, theirs]) times.length = 0;
          const runs = quick ? 2 : runsOf(theirs);
          const answer = await direct.run({ ...query, runs });
          theirs.push(...answer.timesMs);
          ids = answer.ids;
          for (let run = 0; run < runs; run += 1) {
            const begin = performance.now();
            const {
              status,
              message,
              body: bytes,
            } = await callRaw(connection.session, `${service}/${call.method}`, body);
            ours.push(performance.now() - begin);
            if (status !== 0) throw new Error(`${title}: ${message}`);
            if (run > 0) continue;
            const found = decodeFound(call, bytes);
            recall = found.approximate ? recallOf(found.ids, ids) : undefined;
            if (!found.approximate) assertSame(title, found.ids, ids);
          }
        }
        const allowed = median(theirs) * 1.3 + 0.5;
        report.add(`${label}, ${title}, direct`, median(theirs), "ms");
        report.add(
          `${label}, ${title}`,
          median(ours),
          "ms",
          records === 100_000 && atMostMs !== undefined ? { atMost: atMostMs } : {},
        );
        if (recall !== undefined) report.add(`${label}, ${title}, recall@10`, recall, "of 1");
        report.add(`${label}, ${title} / (direct × 1.3 + 0.5 ms)`, median(ours) / allowed, "×", {
          atMost: 1,
        });
      };
      for (const one of casesOf()) await measure(one);
      await measure(await deepPage(server, direct, Math.min(1_000, records / pageSize - 1)));
      await getsBesideSearches(report, server, label, quick);
    }
  },
};

/** Fast queries are run more often. */
function runsOf(timesMs: readonly number[]): number {
  return timesMs.length > 0 && median(timesMs) < 5 ? 300 : 20;
}

/** The page after the first `pages - 1` by price: by its token here, by its keys there. */
async function deepPage(server: BenchServer, direct: DirectProcess, pages: number): Promise<Case> {
  const orderBy = "price_cents";
  let pageToken = "";
  const skipped = (pages - 1) * pageSize;
  for (let left = skipped; left > 0; ) {
    const size = Math.min(left, 1_000);
    const page = await server.client.records.list({
      collectionName: name,
      orderBy,
      pageSize: size,
      pageToken,
    });
    pageToken = page.nextPageToken;
    left -= page.items.length;
  }
  const offset = { name: "pageStart", parameters: [skipped - 1], runs: 1 } as const;
  const [last = ""] = (await direct.run(offset)).ids;
  const [value = "", seq = ""] = last.split(" ");
  return {
    title: `indexed order, page ${pages}`,
    call: { method: "List", request: { orderBy, pageToken } },
    direct: { name: "orderAfter", parameters: [Number(value), Number(seq)] },
  };
}

/** Gets at a moderate rate while the worst searches that are allowed run one after the other. */
async function getsBesideSearches(
  report: Report,
  server: BenchServer,
  label: string,
  quick: boolean,
): Promise<void> {
  const words = Array.from({ length: 16 }, (_, rank) => wordOf(rank)).join(" OR ");
  const worst = { collectionName: name, fullText: words, textSyntax: TextSyntax.ADVANCED };
  const over = new AbortController();
  const search = async () => {
    while (!over.signal.aborted) {
      await server.client.records.search(worst).catch(() => undefined);
    }
  };
  const searching = Promise.all([search(), search()]);
  const source = { kind: "get" as const, collectionName: name, records: 1_000 };
  const flows = [{ source, perSecond: 500 }];
  const job = { url: server.url, connections: 1, warmUpMs: quick ? 50 : 1_000, flows };
  const { flows: measured } = await load({ ...job, runMs: quick ? 200 : 8_000 }, server.pid);
  over.abort();
  await searching;
  const p99 = measured[0]?.latencyMs.p99 ?? Number.NaN;
  report.add(`${label}, Get beside the worst searches, p99`, p99, "ms", { atMost: 10 });
}

async function fill(server: BenchServer, records: number): Promise<void> {
  const { registry, repo, records: calls } = server.client;
  await registry.registerProto({ fileDescriptor: articleFile });
  await repo.createCollection({
    collection: {
      name,
      messageType: { messageName: articleTypeName },
      indexedFields: ["category", "price_cents"],
      textSearch: { fields: [{ path: "title" }, { path: "body" }] },
    },
  });
  let next = 0;
  const run = async () => {
    while (next < records) {
      const first = next;
      next += fillBatch;
      const operations = Array.from({ length: Math.min(fillBatch, records - first) }, (_, index) =>
        create(RequestOpSchema, {
          operation: {
            case: "create",
            value: { id: recordId(first + index), item: articleItem(first + index) },
          },
        }),
      );
      await calls.batch({ collectionName: name, operations });
    }
  };
  await Promise.all(Array.from({ length: fillInFlight }, run));
  await server.settle();
}

/** The file of the largest store: all others hold a few records of the server's own. */
async function storePath(dataFolder: string): Promise<string> {
  let largest = { path: "", size: 0 };
  for await (const path of glob("stores/*/*/data.sqlite", { cwd: dataFolder })) {
    const { size } = await stat(join(dataFolder, path));
    if (size > largest.size) largest = { path: join(dataFolder, path), size };
  }
  return largest.path;
}

function encode({ method, request }: Call): Uint8Array {
  if (method === "Search") {
    const message = create(SearchRequestSchema, {
      ...request,
      collectionName: name,
      limit: pageSize,
    });
    return toBinary(SearchRequestSchema, message);
  }
  return toBinary(
    ListRequestSchema,
    create(ListRequestSchema, { ...request, collectionName: name, pageSize }),
  );
}

interface Found {
  readonly ids: readonly string[];
  /** Not all that matches was ranked. */
  readonly approximate: boolean;
}

function decodeFound({ method }: Call, body: Uint8Array): Found {
  const bytes = body.subarray(5);
  if (method === "List") {
    const { metas } = read(ListResponseSchema, bytes);
    return { ids: metas.map(({ id }) => id), approximate: false };
  }
  const { results, approximate } = read(SearchResponseSchema, bytes);
  return { ids: results.map(({ meta }) => meta?.id ?? ""), approximate };
}

/** The share of the best that were found. */
function recallOf(found: readonly string[], best: readonly string[]): number {
  return best.filter((id) => found.includes(id)).length / best.length;
}

function read<Desc extends DescMessage>(schema: Desc, bytes: Uint8Array): MessageShape<Desc> {
  return fromBinary(schema, bytes);
}

function assertSame(title: string, ours: readonly string[], theirs: readonly string[]): void {
  if (ours.join() === theirs.join()) return;
  throw new Error(`${title}: the server found ${ours.join()}, SQLite ${theirs.join()}`);
}

/** A process that runs nothing but queries. */
class DirectProcess implements AsyncDisposable {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(path: string): Promise<DirectProcess> {
    const file = join(import.meta.dirname, "baseline", "direct-queries.ts");
    const child = fork(file, [path], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
    await once(child, "message");
    return new DirectProcess(child);
  }

  async run(query: DirectQuery): Promise<DirectAnswer> {
    this.#child.send(query);
    const [answer] = (await once(this.#child, "message")) as [DirectAnswer];
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "close");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

if (import.meta.main) await main(searchBenchmark);
