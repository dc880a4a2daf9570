// Streams a steered chat: npm run example -- ADDRESS [FEATURE [STRENGTH [KEY]]]

import { Code } from "@connectrpc/connect";
import { failureOf, Role } from "hearth-client";
import { connect } from "hearth-client/node";

const [address = "localhost:50051", feature = "114", strength = "0.5", key = ""] = process.argv.slice(2);
const { inference } = connect(`http://${address}`, { key });

// Ctrl-C ends the generation on the server too.
const leaving = new AbortController();
process.once("SIGINT", () => leaving.abort());

try {
  const events = inference.generate(
    {
      prompt: {
        input: {
          case: "chat",
          value: { messages: [{ role: Role.USER, content: "What did you do this weekend?" }] },
        },
      },
      steering: {
        edits: [{ feature: { index: Number(feature) }, operation: { case: "nudge", value: Number(strength) } }],
      },
      sampling: { temperature: 0, maxTokens: 40 },
    },
    { timeoutMs: 120_000, signal: leaving.signal },
  );
  for await (const { event } of events) {
    if (event.case === "delta") process.stdout.write(event.value.text);
  }
  process.exit(0); // the connection would keep Node running
} catch (error) {
  const { code, message, violations, retryAfterMs } = failureOf(error);
  console.error(`${Code[code]}: ${message}`);
  for (const { field, problem } of violations) console.error(`  ${field}: ${problem}`);
  if (retryAfterMs !== undefined) console.error(`  try again in ${retryAfterMs} ms`);
  process.exit(1);
}
