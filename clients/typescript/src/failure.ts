// What a call that failed says of itself.

import { Code, ConnectError } from "@connectrpc/connect";

import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "./gen/google/rpc/error_details_pb.js";

/** A call that failed, its google.rpc details decoded. */
export interface Failure {
  code: Code;
  message: string;
  /** A name of `ErrorReason` without its prefix, such as QUEUE_FULL; empty where no server said it. */
  reason: string;
  /** The fields of the request that are at fault, and how. */
  violations: { field: string; problem: string }[];
  /** Milliseconds after which to come back; undefined where the server names no time. */
  retryAfterMs: number | undefined;
  /** By which the server's log has the call. */
  requestId: string;
}

/** The failure that anything thrown by a call stands for. */
export function failureOf(thrown: unknown): Failure {
  const error = ConnectError.from(thrown);
  const info = error.findDetails(ErrorInfoSchema).find((each) => each.domain === "hearth");
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    code: error.code,
    message: error.rawMessage,
    reason: info?.reason ?? "",
    violations: error
      .findDetails(BadRequestSchema)
      .flatMap((each) => each.fieldViolations)
      .map((each) => ({ field: each.field, problem: each.description })),
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    requestId: info?.metadata["request_id"] ?? "",
  };
}
