import { createServiceClient } from "./outbound-contestants.ts";

/**
 * Makes unary calls of 300 bytes to a server and prints the CPU that each took in this process, in µs.
 *
 * Arguments: the kind of client, the server's URL, how many calls.
 */
const [kind = "", url = "", calls = "0"] = process.argv.slice(2);
const inFlight = 64;
const message = new Uint8Array(300);

const client = createServiceClient(kind, url);

async function run(count: number): Promise<void> {
  let left = count;
  const work = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await client.call(message);
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
}

await run(Math.ceil(Number(calls) / 3));
const before = process.cpuUsage();
await run(Number(calls));
const { user, system } = process.cpuUsage(before);
console.log((user + system) / Number(calls));
await client.close();
