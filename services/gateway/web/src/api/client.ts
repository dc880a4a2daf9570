/** The generated client: every call of the page goes through it. */

import createClient from "openapi-fetch";

import { Failure, failureOf, isAbort, unreachable } from "./failure";
import type { GatewayPaths } from "./gateway";
import type { paths } from "./schema";
import { events } from "./sse";

/** Set by the session: the key to send, and who wants to hear of failures. */
export const hooks = {
  key: (): string => "",
  failed: (_failure: Failure): void => undefined,
};

export const api = createClient<paths & GatewayPaths>({ baseUrl: "/" });

api.use({
  onRequest({ request }) {
    const key = hooks.key();
    if (key) request.headers.set("Authorization", `Bearer ${key}`);
    return request;
  },
});

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The answer of a call, or a Failure. */
export async function call<T>(request: Promise<Answer<T>>): Promise<T> {
  try {
    const { data, error, response } = await request;
    if (response.ok && data !== undefined) return data;
    throw failureOf(error, response.status, response.headers.get("Retry-After"));
  } catch (problem) {
    if (isAbort(problem)) throw problem;
    const failure = problem instanceof Failure ? problem : unreachable();
    hooks.failed(failure);
    throw failure;
  }
}

/** The events of a call that was made with `parseAs: "stream"`. */
export async function* stream<T>(request: Promise<Answer<unknown>>): AsyncGenerator<T> {
  const body = (await call(request)) as ReadableStream<Uint8Array>;
  try {
    yield* events<T>(body);
  } catch (problem) {
    if (problem instanceof Failure) hooks.failed(problem);
    throw problem;
  }
}
