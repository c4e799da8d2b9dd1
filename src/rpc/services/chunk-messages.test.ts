import assert from "node:assert/strict";
import { it } from "node:test";
import { crc32 } from "node:zlib";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  PullCollectionChunkSchema,
  PushCollectionRequestSchema,
} from "../../gen/collector/collection_repo_pb.ts";
import { readyHeadroomBytes, readyOf } from "../encoding/ready-messages.ts";
import { chunkRoom, pullChunk, pushChunk } from "./chunk-messages.ts";

it("makes the message of a chunk around it as it would be encoded", () => {
  const { before, after } = chunkRoom;
  for (const length of [1, 2, 127, 128, 16_383, 16_384, 1_048_575, 1_048_576]) {
    const buffer = Buffer.alloc(before + length + after, 0xff);
    const bytes = buffer.subarray(before, before + length).fill(length);
    const message = pullChunk({ bytes, crc32: crc32(bytes), giveBack: () => undefined });
    const form = readyOf(message)?.bytes.subarray(readyHeadroomBytes);
    assert.ok(form?.equals(toBinary(PullCollectionChunkSchema, message)), `${length} bytes`);
    assert.ok(bytes.every((byte) => byte === (length & 0xff)));
    const pushed = fromBinary(
      PushCollectionRequestSchema,
      pushChunk({ bytes, crc32: crc32(bytes) }),
    );
    assert.ok(bytes.equals(pushed.data.case === "chunk" ? pushed.data.value : Buffer.of()));
    assert.equal(pushed.chunkCrc32, crc32(bytes));
    assert.deepEqual(pushed.$unknown, undefined);
  }
});

it("leaves a chunk alone that nobody wants back", () => {
  const message = pullChunk({ bytes: new Uint8Array(10), crc32: 1 });
  assert.equal(readyOf(message), undefined);
  assert.equal(message.chunkCrc32, 1);
});
