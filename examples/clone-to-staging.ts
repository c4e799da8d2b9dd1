// A copy of production for those who try things out: the collection under another name, with its type and
// its attached files. Run it again to have the copy as production is by then.
//
//   node examples/clone-to-staging.ts products staging/products
//
// In a project of yours the import is `collector/client`.
import { ClientError, connect } from "../src/client/index.ts";

const [source = "products", dest = "staging/products"] = process.argv.slice(2);

await using client = await connect();

try {
  const copy = await client.clone(source, dest, { refresh: true });
  const { recordsCloned, filesCloned, incremental } = copy;
  const how = incremental ? "brought up to date" : "copied";
  console.log(`${how} ${source} to ${dest}: ${recordsCloned} records, ${filesCloned} files`);
} catch (error) {
  // The name belongs to something that is no copy of the source: that is not replaced.
  if (!(error instanceof ClientError) || error.reason !== "COLLECTION_EXISTS") throw error;
  console.error(`${dest} is another collection; choose another name`);
  process.exitCode = 1;
}
