/** What the SAE reads in an answer: one feature's activation at each token, or the strongest features of one token. */

import { effect, signal } from "@preact/signals";

import { api, call, stream } from "../api/client";
import type { Attribution, FeatureKey, InspectRun, Prompt, Steering } from "../api/types";
import type { Answer } from "./chat";
import { name, needIndices } from "./features";
import { modelId, saeId } from "./session";
import { sliders } from "./steering";

/** The strongest features that are shown of a token. */
const TOP = 12;

export interface Reading {
  index: number;
  /** Raw. */
  value: number;
}

/** The feature that tokens are coloured by. */
export const colour = signal<FeatureKey | null>(null);
/** Whether someone chose it, "none" included; else it follows the first slider. */
const chosen = signal(false);

export function colourBy(key: FeatureKey | null): void {
  chosen.value = true;
  colour.value = key;
}

effect(() => {
  const first = sliders.value[0]?.key ?? null;
  if (!chosen.value && (first && name(first)) !== (colour.peek() && name(colour.peek()!)))
    colour.value = first;
});

const prompts = new WeakMap<Prompt, Promise<number[]>>();
const colours = new Map<string, Promise<number[]>>();
const strongest = new Map<string, Promise<Reading[][]>>();

/** The prompt's tokens, the assistant's turn opened. */
function promptTokens(prompt: Prompt): Promise<number[]> {
  const before = prompts.get(prompt);
  if (before) return before;
  const body = { model: modelId(), prompt, addGenerationPrompt: true };
  const tokens = call(api.POST("/hearth/v1/tokenize", { body })).then((answer) =>
    answer.tokens.map(({ id }) => id),
  );
  return keep(prompts, prompt, tokens);
}

/** Remembers an answer, and forgets it where it failed. */
function keep<K, V>(
  kept: { set(key: K, value: Promise<V>): unknown; delete(key: K): unknown },
  key: K,
  coming: Promise<V>,
) {
  kept.set(key, coming);
  coming.catch(() => kept.delete(key));
  return coming;
}

const idOf = (answer: Answer) => `${answer.id}-${answer.seed}-${answer.pieces.length}`;

async function inspect(
  answer: Answer,
  only: { featureIndices?: number[]; topK?: number },
): Promise<Reading[][]> {
  const before = await promptTokens(answer.prompt);
  const ids = [...before, ...answer.pieces.map((piece) => piece.id)];
  const body = {
    model: modelId(),
    prompt: { tokenIds: { ids } },
    steering: silent(answer.steering),
    sae: saeId(),
    ...only,
  };
  const rows: Reading[][] = [];
  const runs = api.POST("/hearth/v1/inspect", { body, parseAs: "stream" });
  for await (const { activations } of stream<InspectRun>(runs)) {
    const { starts = [], indices = [], values = [] } = activations ?? {};
    for (let row = 0; row + 1 < starts.length; row++) {
      const range = [starts[row]!, starts[row + 1]!] as const;
      const found = values.slice(...range);
      rows.push(indices.slice(...range).map((index, i) => ({ index, value: found[i] ?? 0 })));
    }
  }
  return rows.slice(before.length);
}

/** The raw activation of one feature at each token of an answer. */
export function activationsOf(answer: Answer, key: FeatureKey): Promise<number[]> {
  const id = `${idOf(answer)}-${name(key)}`;
  const index = key.index ?? 0;
  return (
    colours.get(id) ??
    keep(
      colours,
      id,
      inspect(answer, { featureIndices: [index] }).then((rows) => rows.map((row) => row[0]?.value ?? 0)),
    )
  );
}

/** The strongest features of each token of an answer. */
export function strongestOf(answer: Answer): Promise<Reading[][]> {
  const id = idOf(answer);
  return strongest.get(id) ?? keep(strongest, id, inspect(answer, { topK: TOP }));
}

/** What raised and lowered the logit of one token of an answer, in the unsteered model. */
export async function attribute(answer: Answer, at: number): Promise<Attribution & { first: number }> {
  const before = await promptTokens(answer.prompt);
  const ids = [...before, ...answer.pieces.slice(0, at).map((piece) => piece.id)];
  const body = {
    model: modelId(),
    prompt: { tokenIds: { ids } },
    sae: saeId(),
    targetToken: answer.pieces[at]?.id,
    topK: TOP,
  };
  const attribution = await call(api.POST("/hearth/v1/attribute", { body }));
  void needIndices(attribution.features.map((feature) => feature.index));
  return { ...attribution, first: before.length };
}

/** A steering without what Inspect refuses: it neither ends anything nor tells anyone. */
function silent(steering: Steering): Steering {
  const scopes = (steering.scopes ?? [])
    .filter((scope) => scope.steering)
    .map((scope) => ({ ...scope, steering: silent(scope.steering!) }));
  return { ...steering, scopes };
}
