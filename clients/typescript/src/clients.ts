// Clients of the services, and what goes with every call: key, owner, deadline, retries.

import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Code,
  ConnectError,
  type Client,
  createClient,
  type Interceptor,
  type Transport,
} from "@connectrpc/connect";

import { failureOf } from "./failure.js";
import { AutoSteerService } from "./gen/hearth/v1/autosteer_service_pb.js";
import { FeatureService } from "./gen/hearth/v1/feature_service_pb.js";
import { InferenceService } from "./gen/hearth/v1/inference_service_pb.js";
import { VariantService } from "./gen/hearth/v1/variant_service_pb.js";

/** How calls are made. */
export interface Options {
  /** Sent as a bearer token. */
  key?: string;
  /** On whose behalf calls are made, where no key says so. */
  owner?: string;
  /** Milliseconds that a call may take which states no `timeoutMs` of its own; 600,000 unless given. */
  deadlineMs?: number;
}

/** The services of a mesh. */
export interface Clients {
  inference: Client<typeof InferenceService>;
  features: Client<typeof FeatureService>;
  variants: Client<typeof VariantService>;
  autosteer: Client<typeof AutoSteerService>;
}

/** The processes of a mesh. */
export type Process = "inference" | "features" | "autosteer";

export const DEADLINE_MS = 600_000;
const ATTEMPTS = 4;
const FIRST_WAIT_MS = 200;
const LONGEST_WAIT_MS = 2_000;

/** Clients over the transports of the processes. */
export function clientsOver(transport: (process: Process) => Transport): Clients {
  return {
    inference: createClient(InferenceService, transport("inference")),
    features: createClient(FeatureService, transport("features")),
    variants: createClient(VariantService, transport("features")),
    autosteer: createClient(AutoSteerService, transport("autosteer")),
  };
}

/** What goes around every call. */
export function interceptors(options: Options): Interceptor[] {
  return [retrying, identifying(options)];
}

function identifying(options: Options): Interceptor {
  return (next) => (request) => {
    if (options.key) request.header.set("authorization", `Bearer ${options.key}`);
    if (options.owner) request.header.set("x-hearth-owner", options.owner);
    return next(request);
  };
}

// As the API's service config says: calls with one answer that may be made twice, where the server is away.
const retrying: Interceptor = (next) => async (request) => {
  const mayRepeat =
    !request.stream && request.method.idempotency !== MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN;
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      const isAway = ConnectError.from(error).code === Code.Unavailable;
      if (!mayRepeat || !isAway || attempt === ATTEMPTS || request.signal.aborted) throw error;
      const usual = Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** (attempt - 1));
      const asked = Math.min(LONGEST_WAIT_MS, failureOf(error).retryAfterMs ?? 0);
      await new Promise((resolve) => setTimeout(resolve, Math.max(usual, asked)));
    }
  }
};
