/** Reads a stream of server-sent events from the body of an answer. */

import { failureOf, unreachable } from "./failure";

/** The JSON of each event. An event that is an error is thrown as a Failure, and so is a stream that breaks off. */
export async function* events<T>(body: ReadableStream<Uint8Array>): AsyncGenerator<T> {
  const reader = body
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .getReader();
  let rest = "";
  try {
    for (;;) {
      const { done, value } = await reader.read().catch((error) => {
        throw error instanceof DOMException ? error : unreachable();
      });
      if (done) return;
      const blocks = (rest + value.replaceAll("\r\n", "\n")).split("\n\n");
      rest = blocks.pop() ?? "";
      for (const block of blocks) {
        const data = block
          .split("\n")
          .filter((line) => line.startsWith("data:"))
          .map((line) => line.slice(5).trimStart())
          .join("\n");
        if (!data || data === "[DONE]") continue;
        const event: unknown = JSON.parse(data);
        if (isFailure(event)) throw failureOf(event, 500);
        yield event as T;
      }
    }
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** Events have an `error` of their own too, but none with a code. */
const isFailure = (event: unknown) => (event as { error?: { code?: unknown } }).error?.code !== undefined;
