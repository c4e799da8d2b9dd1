import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Pricing } from "../../examples/gen/pricing_pb.ts";
import { runCliHere } from "../support/cli-in-process.ts";
import { openCollector, pricing, type TestCollector } from "../support/pricing.ts";
import { type CliResult, runCli } from "../support/run-cli.ts";
import { type TempFolder, tempFolder } from "../support/temp-folder.ts";
import { waitUntil } from "../support/wait.ts";

const protoFile = join(import.meta.dirname, "../../examples/pricing.proto");
const service = Pricing.typeName;

describe("collector service", () => {
  let folder: TempFolder;
  let server: TestCollector;
  let first: TestCollector;
  let second: TestCollector;

  const collector = (...args: readonly string[]): Promise<CliResult> =>
    runCliHere(args, { COLLECTOR_URL: server.url, XDG_CONFIG_HOME: folder.path });
  const succeed = async (line: string, ...more: readonly string[]): Promise<string> => {
    const result = await collector(...line.split(" "), ...more);
    assert.equal(result.exitCode, 0, result.stderr);
    return result.stdout;
  };
  const fail = async (exitCode: number, line: string): Promise<string> => {
    const result = await collector(...line.split(" "));
    assert.equal(result.exitCode, exitCode, result.stdout + result.stderr);
    return result.stderr;
  };
  const shown = async () =>
    JSON.parse(await succeed(`service show ${service} -o json`)) as {
      readonly endpoints: readonly { readonly address: string; readonly labels: object }[];
      readonly executors: readonly { readonly kind: string; readonly ready: boolean }[];
      readonly methods: readonly unknown[];
    };

  before(async () => {
    folder = await tempFolder("cli-service");
    [server, first, second] = await Promise.all([
      openCollector(),
      openCollector(),
      openCollector(),
    ]);
    await first.collector.serve(Pricing, pricing());
    await second.collector.serve(Pricing, pricing());
    await succeed(`schema add ${protoFile}`);
  });

  after(async () => {
    for (const one of [server, first, second]) await one[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  it("lists what is registered and what is built in", async () => {
    assert.match(await succeed("service list"), /collector\.CollectionService +\d+ +built in/);
    assert.equal(
      await succeed("service list --no-built-in"),
      `NAMESPACE  NAME                METHODS  RUN BY\ndefault    ${service}        4  nobody\n`,
    );
    assert.equal(await succeed("service list Pricing -o name"), `${service}\n`);
    const [json] = JSON.parse(await succeed("service list Pricing -o json"));
    assert.deepEqual([json.name, json.builtIn, json.executors], [service, false, []]);
  });

  it("shows methods and says who runs nothing", async () => {
    const text = await succeed(`service show ${service}`);
    assert.match(text, /^Service +\S+\nNamespace +default\nFile +pricing\.proto \(version 1\)\n/);
    assert.match(text, /^Haggle +\S+ +\S+ +both stream$/m);
    assert.match(text, /collector describe/);
    assert.match(await fail(3, "service show nothing.v1.There"), /nothing\.v1\.There/);
  });

  it("attaches endpoints beside those there are, has them called, and takes them back", async () => {
    const rehearsed = await succeed(`service attach ${service} ${first.url} --dry-run`);
    assert.match(rehearsed, /^ok: /);
    assert.deepEqual((await shown()).endpoints, []);
    await succeed(`service attach ${service} ${first.url}`);
    await succeed(`service attach ${service} ${second.url} --label zone=b`);
    const { endpoints } = await shown();
    assert.deepEqual(endpoints, [
      { address: first.url, labels: {} },
      { address: second.url, labels: { zone: "b" } },
    ]);
    const answer = await succeed(`call ${service}/Quote -d`, '{"title": "tea", "quantity": 3}');
    assert.deepEqual(JSON.parse(answer), { title: "tea", cents: "750" });
    await waitUntil("both are known to be well", 10_000, async () =>
      (await shown()).executors.every(({ kind, ready }) => kind === "endpoint" && ready),
    );
    assert.match(await succeed("service list --no-built-in"), /endpoint: 2 of 2 ready/);
    assert.match(await succeed(`service show ${service}`), /zone=b +ready/);

    assert.match(
      await fail(3, `service detach ${service} 127.0.0.1:1`),
      /has no endpoint 127\.0\.0\.1:1/,
    );
    assert.match(
      await succeed(`service detach ${service} ${first.url} --dry-run`),
      /^would detach .* 1 endpoint left\n$/,
    );
    assert.equal((await shown()).endpoints.length, 2);
    await succeed(`service detach ${service} ${first.url}`);
    assert.deepEqual(
      (await shown()).endpoints.map(({ address }) => address),
      [second.url],
    );
    await succeed(`service attach ${service} ${first.url} --replace`);
    assert.deepEqual(
      (await shown()).endpoints.map(({ address }) => address),
      [first.url],
    );
    await succeed(`service detach ${service} --all`);
    assert.deepEqual((await shown()).endpoints, []);
    assert.match(await fail(2, `service detach ${service}`), /name addresses, or say --all/);
    assert.match(await fail(4, `service attach ${service} example.com:80`), /--peers/);
  });

  it("runs a command for each call until it is told to stop", async () => {
    const script = join(folder.path, "run.mjs");
    await writeFile(
      script,
      `import { createInterface } from "node:readline";
       const method = process.env.COLLECTOR_METHOD;
       let sum = 0;
       for await (const line of createInterface({ input: process.stdin })) {
         const { title = "", quantity = 0 } = JSON.parse(line);
         sum += quantity;
         if (title === "broken") throw new Error("no such thing");
         const answers = method === "List" ? quantity : method === "Sum" ? 0 : 1;
         for (let i = 0; i < answers; i += 1) console.log(JSON.stringify({ title, cents: String(sum) }));
       }
       if (method === "Sum") console.log(JSON.stringify({ title: "all", cents: String(sum) }));`,
    );
    const command = `"${process.execPath}" "${script}"`;
    const called = Promise.withResolvers<void>();
    let isAttached = false;
    const attached = runCli(["service", "attach", service, "--exec", command, "--label", "a=b"], {
      env: { COLLECTOR_URL: server.url },
      onNote(child) {
        if (isAttached) return;
        isAttached = true;
        void calls()
          .then(called.resolve, called.reject)
          .finally(() => child.kill("SIGTERM"));
      },
    });
    const answers = async (method: string, data: string): Promise<unknown[]> => {
      const text = await succeed(`call ${service}/${method} -o jsonl -d`, data);
      return text
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { cents: string }).cents);
    };
    const calls = async (): Promise<void> => {
      assert.deepEqual(await answers("Quote", '{"quantity": 3}'), ["3"]);
      assert.deepEqual(await answers("List", '{"quantity": 2}'), ["2", "2"]);
      const many = '{"quantity": 1}\n{"quantity": 4}';
      assert.deepEqual(await answers("Sum", many), ["5"]);
      assert.deepEqual(await answers("Haggle", many), ["1", "5"]);
      const { executors } = await shown();
      assert.deepEqual(
        executors.map(({ kind, ready }) => [kind, ready]),
        [["worker", true]],
      );
      const broken = await collector("call", `${service}/Quote`, "-d", '{"title": "broken"}');
      assert.equal(broken.exitCode, 1, broken.stdout);
      assert.match(broken.stderr, /Node\.js v|no such thing/);
    };
    await called.promise;
    const { exitCode, stdout } = await attached;
    assert.equal(exitCode, 0);
    assert.match(stdout, new RegExp(`^attached \\S+ to ${service}\n$`));
    assert.match(await fail(2, `service attach ${service}`), /addresses, or a command/);
    assert.match(await fail(3, "service attach pricing.v1.Price --exec true"), /is no service/);
  });

  it("calls methods of all kinds, with requests from files and stdin", async () => {
    await succeed(`service attach ${service} ${first.url}`);
    const listed = await succeed(`call ${service}/List -o jsonl -d`, '{"quantity": 3}');
    assert.deepEqual(
      listed
        .trim()
        .split("\n")
        .map((line) => (JSON.parse(line) as { cents: string }).cents),
      ["250", "500", "750"],
    );
    const many = '{"title": "tea", "quantity": 1}\n{"title": "cups", "quantity": 2}';
    const sum = JSON.parse(await succeed(`call ${service}/Sum -d`, many));
    assert.deepEqual(sum, { title: "tea cups", cents: "750" });
    const haggled = await succeed(`call ${service}/Haggle -o jsonl -d`, many);
    assert.equal(haggled.trim().split("\n").length, 2);
    assert.match(await fail(1, `call ${service}/Qote`), /has no method Qote/);
  });
});
