// A mirror on a second collector: COLLECTOR_URL names the mirror, and the source must be among its `peers`.
// Run it as often as the mirror is to be refreshed; only what has changed travels.
//
//   COLLECTOR_URL=http://127.0.0.1:50052 node examples/mirror.ts 127.0.0.1:50051 products
//
// In a project of yours the import is `collector/client`.
import { durationMs } from "@bufbuild/protobuf/wkt";
import { connect } from "../src/client/client.ts";

const [source = "127.0.0.1:50051", collection = "products"] = process.argv.slice(2);

await using client = await connect();

const answer = await client.fetch(source, collection, "", {
  refresh: true,
  onProgress: ({ phase, done, total }) => {
    if (process.stderr.isTTY) process.stderr.write(`\r${phase} ${done} of ${total}  `);
  },
});
const { recordsFetched, filesFetched, bytesTransferred, incremental, transferTime } = answer;
const ms = transferTime === undefined ? 0 : durationMs(transferTime);
console.log(`${incremental ? "brought up to date" : "copied"} ${collection} of ${source}`);
console.log(`${recordsFetched} records, ${filesFetched} files`);
console.log(`${bytesTransferred} bytes in ${ms.toFixed(0)} ms`);
