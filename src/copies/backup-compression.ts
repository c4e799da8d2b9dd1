import { invalidField } from "../errors.ts";
import { Compression } from "../gen/collector/collection_repo_pb.ts";

/**
 * What an archive is compressed with.
 *
 * @param byDefault what COMPRESSION_UNSPECIFIED means
 * @throws {CollectorError} ARGUMENT_INVALID for a number that has no meaning here
 */
export function chosenCompression(given: Compression, byDefault: Compression): Compression {
  if (given === Compression.UNSPECIFIED) return byDefault;
  const known: readonly number[] = Object.values(Compression);
  if (known.includes(given)) return given;
  const names = ["COMPRESSION_UNSPECIFIED", "COMPRESSION_ZSTD", "COMPRESSION_NONE"].join(", ");
  throw invalidField("ARGUMENT_INVALID", "compression", `is none of ${names}`);
}
