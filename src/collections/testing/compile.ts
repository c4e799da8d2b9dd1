import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createFileRegistry, type FileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

/** Compiles `.proto` sources, by file name, with buf. Takes about half a second. */
export function compileProtos(sources: Readonly<Record<string, string>>): FileRegistry {
  const folder = mkdtempSync(join(tmpdir(), "collector-protos-"));
  try {
    for (const [name, source] of Object.entries(sources)) writeFileSync(join(folder, name), source);
    const buf = join(import.meta.dirname, "../../../node_modules/.bin/buf");
    const bytes = execFileSync(buf, ["build", folder, "-o", "-#format=binpb"], {
      maxBuffer: 64 * 1024 * 1024,
    });
    return createFileRegistry(fromBinary(FileDescriptorSetSchema, bytes));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** A message of proto3 with a field of every kind. */
export const kindsProto: string = `
  syntax = "proto3";
  package kinds.v1;
  import "google/protobuf/any.proto";
  import "google/protobuf/duration.proto";
  import "google/protobuf/field_mask.proto";
  import "google/protobuf/struct.proto";
  import "google/protobuf/timestamp.proto";
  import "google/protobuf/wrappers.proto";

  enum Color { COLOR_UNSPECIFIED = 0; RED = 1; BLUE = 2; NEGATIVE = -1; }

  message Kinds {
    double double_value = 1;
    float float_value = 2;
    int32 int32_value = 3;
    int64 int64_value = 4;
    uint32 uint32_value = 5;
    uint64 uint64_value = 6;
    sint32 sint32_value = 7;
    sint64 sint64_value = 8;
    fixed32 fixed32_value = 9;
    fixed64 fixed64_value = 10;
    sfixed32 sfixed32_value = 11;
    sfixed64 sfixed64_value = 12;
    bool bool_value = 13;
    string string_value = 14;
    bytes bytes_value = 15;
    Color color = 16;
    Kinds child = 17;
    optional int32 maybe_int = 18;
    optional string maybe_text = 19;

    repeated int32 ints = 20;
    repeated sint64 longs = 21 [packed = false];
    repeated string tags = 22;
    repeated Kinds children = 23;
    repeated Color colors = 24;
    repeated double doubles = 25;
    repeated bytes blobs = 26;
    repeated bool flags = 27;
    repeated fixed64 fixed_longs = 28;

    map<string, string> labels = 30;
    map<int32, Kinds> by_number = 31;
    map<bool, Color> by_flag = 32;
    map<uint64, bytes> by_long = 33;
    map<string, double> prices = 34;
    map<sfixed32, google.protobuf.Timestamp> times = 35;

    oneof choice {
      string choice_text = 40;
      int64 choice_number = 41;
      Kinds choice_child = 42;
      google.protobuf.StringValue choice_wrapper = 43;
    }

    google.protobuf.Timestamp created = 50;
    google.protobuf.Duration length = 51;
    google.protobuf.Struct extra = 52;
    google.protobuf.Value value = 53;
    google.protobuf.ListValue list = 54;
    google.protobuf.Any any = 55;
    google.protobuf.Int64Value boxed_long = 56;
    google.protobuf.StringValue boxed_text = 57;
    google.protobuf.BytesValue boxed_bytes = 58;
    google.protobuf.FieldMask mask = 59;
    repeated google.protobuf.Any anys = 60;
    repeated google.protobuf.StringValue boxed_texts = 61;
    int32 far_away = 536870911;
  }
`;

/** The same spirit in proto2: groups, closed enums, required fields, defaults, extensions. */
export const legacyProto: string = `
  syntax = "proto2";
  package legacy.v1;

  enum Level { LOW = 1; HIGH = 2; }

  message Legacy {
    required string name = 1;
    optional int32 count = 2 [default = 7];
    optional Level level = 3 [default = HIGH];
    repeated Level levels = 4;
    optional group Part = 5 {
      optional string title = 1;
      optional int64 size = 2;
      optional group Inner = 3 { optional bool on = 1; }
    }
    repeated group Item = 6 {
      optional string sku = 1;
    }
    map<string, Level> level_of = 7;
    optional bytes raw = 8;
    optional Legacy next = 9;
    repeated int32 packed_ints = 10 [packed = true];
    extensions 100 to 199;
  }

  extend Legacy {
    optional string note = 100;
  }
`;
