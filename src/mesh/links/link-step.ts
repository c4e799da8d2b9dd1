import { create, fromBinary, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { CollectorError } from "../../errors.ts";
import {
  type LinkRequest,
  LinkRequestSchema,
  type LinkResponse,
  LinkResponseSchema,
} from "../../gen/collector/mesh_pb.ts";

/** Version of what two collectors say to each other over a link. */
export const linkProtocolVersion = 1;

/** The stream that carries a link. */
export const linkPath = "/collector.Mesh/Link";

/** Asks a collector to prove that it is the other end of a link. */
export const identifyPath = "/collector.Mesh/Identify";

/** One thing that one end of a link says to the other. Both ends say the same things. */
export type LinkStep = Exclude<LinkRequest["step"], { case: undefined }>;

/** Takes the step out of a message. @throws {CollectorError} ARGUMENT_INVALID if there is none */
export function stepOf({ step }: LinkRequest | LinkResponse): LinkStep {
  if (step.case !== undefined) return step;
  throw new CollectorError("ARGUMENT_INVALID", "a message of a link holds no step that is known");
}

/** The step in a message of the end that accepted the link. @throws {CollectorError} ARGUMENT_INVALID */
export function decodeAnswer(bytes: Uint8Array): LinkStep {
  let message: MessageShape<typeof LinkResponseSchema>;
  try {
    message = fromBinary(LinkResponseSchema, bytes);
  } catch (cause) {
    throw new CollectorError("ARGUMENT_INVALID", "the peer sent what is no message of a link", {
      cause,
    });
  }
  return stepOf(message);
}

/** A step as a message of the end that opens the link. */
export function encodeStep(step: LinkStep): Uint8Array {
  return toBinary(LinkRequestSchema, create(LinkRequestSchema, { step }));
}

/** @param about what the other end cannot know, as no offer was made */
export function goodbye(
  removed: boolean,
  about: { readonly connectionId?: string; readonly collectorId?: string } = {},
): LinkStep {
  const { connectionId = "", collectorId = "" } = about;
  return {
    case: "goodbye",
    value: { $typeName: "collector.LinkGoodbye", removed, connectionId, collectorId },
  };
}
