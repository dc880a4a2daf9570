// Streams a steered chat in a browser: index.html?address=http://localhost:8081&feature=114&strength=0.5&key=

import { Code } from "@connectrpc/connect";
import { failureOf, Role } from "hearth-client";
import { connect } from "hearth-client/web";

const asked = new URLSearchParams(location.search);
const { inference } = connect(asked.get("address") ?? "http://localhost:8081", { key: asked.get("key") ?? "" });
const answer = document.querySelector<HTMLElement>("#answer")!;
const state = document.querySelector<HTMLElement>("#state")!;
const leaving = new AbortController();
document.querySelector("#stop")!.addEventListener("click", () => leaving.abort());

try {
  state.textContent = "answering";
  const events = inference.generate(
    {
      prompt: {
        input: {
          case: "chat",
          value: { messages: [{ role: Role.USER, content: "What did you do this weekend?" }] },
        },
      },
      steering: {
        edits: [
          {
            feature: { index: Number(asked.get("feature") ?? 114) },
            operation: { case: "nudge", value: Number(asked.get("strength") ?? 0.5) },
          },
        ],
      },
      sampling: { temperature: 0, maxTokens: Number(asked.get("tokens") ?? 40) },
    },
    { signal: leaving.signal },
  );
  for await (const { event } of events) {
    if (event.case === "delta") answer.textContent += event.value.text;
  }
  state.textContent = "done";
} catch (error) {
  const { code, message, violations } = failureOf(error);
  state.textContent = `${Code[code]}: ${violations.map(({ field }) => field).join(", ") || message}`;
}
