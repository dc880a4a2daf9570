/** Two sets of texts, and the features that tell them apart. */

import { signal } from "@preact/signals";

import { api, call } from "../api/client";
import { explain } from "../api/failure";
import type { Contrast, Prompt } from "../api/types";
import { needIndices } from "./features";
import { modelId, saeId } from "./session";

export type Pooling = "POOLING_MAX" | "POOLING_MEAN" | "POOLING_LAST";

export const positive = signal("");
export const negative = signal("");
export const pooling = signal<Pooling>("POOLING_MEAN");
export const behavior = signal("");
export const contrast = signal<Contrast | null>(null);
export const problem = signal("");
export const work = signal<"" | "contrast" | "draft">("");

/** One text a line. */
export const textsOf = (lines: string) =>
  lines
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

const prompts = (lines: string): Prompt[] => textsOf(lines).map((text) => ({ text }));

export const compare = () =>
  during("contrast", async () => {
    const body = {
      model: modelId(),
      sae: saeId(),
      positive: prompts(positive.value),
      negative: prompts(negative.value),
      pooling: pooling.value,
    };
    const found = await call(api.POST("/hearth/v1/contrast", { body }));
    contrast.value = found;
    await needIndices([...found.positive, ...found.negative].map((each) => each.index));
  });

/** Has the model write texts that show a behaviour, and matched ones that do not. */
export const draft = () =>
  during("draft", async () => {
    const body = { model: modelId(), behavior: behavior.value.trim(), count: 8 };
    const pairs = await call(api.POST("/hearth/v1/autosteer/draft-contrast", { body }));
    positive.value = pairs.positive.map(lastWords).join("\n");
    negative.value = pairs.negative.map(lastWords).join("\n");
  });

async function during(what: "contrast" | "draft", task: () => Promise<void>): Promise<void> {
  work.value = what;
  problem.value = "";
  try {
    await task();
  } catch (failure) {
    problem.value = explain(failure);
  } finally {
    work.value = "";
  }
}

/** What was said last, on one line. */
function lastWords(prompt: Prompt): string {
  const text = prompt.text ?? prompt.chat?.messages?.at(-1)?.content ?? "";
  return text.replace(/\s+/g, " ").trim();
}
