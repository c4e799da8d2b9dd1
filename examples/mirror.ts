// A mirror: a collection of another server, kept as a copy on this one. Each run brings it up to date with what has
// changed there since the one before, in one step, so that readers see it as it was or as it is. Run it by cron,
// or with a number of seconds as the last argument to have it go on.
//
//   node examples/mirror.ts production.example:50051 products 60
//
// The server that has the mirror dials the other one, and names it in its `peers`. In a project of yours the
// import is `collector/client`.
import { setTimeout as sleep } from "node:timers/promises";
import { ClientError, connect } from "../src/client/index.ts";

const [endpoint = "", collection = "products", seconds = "0"] = process.argv.slice(2);
const pauseMs = Number(seconds) * 1000;

await using client = await connect();

async function refresh(): Promise<void> {
  const copy = await client.fetch(endpoint, collection, undefined, { refresh: true });
  const { recordsFetched, filesFetched, bytesTransferred, incremental } = copy;
  const how = incremental ? "changes" : "all of it";
  console.log(
    `${collection}: ${recordsFetched} records, ${filesFetched} files; ${how}, ${bytesTransferred} bytes`,
  );
}

if (pauseMs === 0) {
  await refresh();
} else {
  for (;;) {
    try {
      await refresh();
    } catch (error) {
      // The mirror is as it was, and the next run brings what this one did not.
      if (!(error instanceof ClientError) || !error.retryable) throw error;
      console.error(error.message);
    }
    await sleep(pauseMs);
  }
}
