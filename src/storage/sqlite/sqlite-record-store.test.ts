import { describeRecordStore } from "../testing/record-store-contract.ts";
import { openSqliteHarness } from "../testing/sqlite-harness.ts";

describeRecordStore("SQLite", openSqliteHarness);
