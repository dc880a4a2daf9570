/** The conversation: each question is answered twice, plain and steered, by the same draw of chance. */

import { computed, type Signal, signal } from "@preact/signals";

import { api, stream } from "../api/client";
import { explain, isAbort } from "../api/failure";
import type { Generation, Prompt, Steering, SteeringReport, Usage } from "../api/types";
import { Pieces, type Piece } from "./pieces";
import { modelId } from "./session";
import { isSteered, steering } from "./steering";

export type Side = "plain" | "steered";
export type Progress = "waiting" | "writing" | "done" | "stopped" | "failed";

export interface Answer {
  id: string;
  side: Side;
  /** What was asked, with the answers of this side before it. */
  prompt: Prompt;
  steering: Steering;
  pieces: Piece[];
  progress: Progress;
  problem: string;
  seed: string;
  reason: string;
  usage?: Usage;
  report?: SteeringReport;
  /** Events that scopes told, by name. */
  events: string[];
}

export interface Turn {
  id: number;
  question: string;
  answers: Signal<Answer>[];
}

export interface Settings {
  temperature: number;
  maxTokens: number;
  /** Empty draws a new one for each question. */
  seed: string;
  system: string;
}

export const settings = signal<Settings>({ temperature: 0.7, maxTokens: 120, seed: "", system: "" });
export const turns = signal<Turn[]>([]);
const running = signal<AbortController | null>(null);
export const isRunning = computed(() => running.value !== null);

let last = 0;

export const textOf = (answer: Answer) => answer.pieces.map((piece) => piece.text).join("");

export const stop = () => running.value?.abort();

export function forget(): void {
  stop();
  turns.value = [];
}

/** Asks both models. Nothing is steered where nothing is set: then there is one answer. */
export async function ask(question: string): Promise<void> {
  if (running.value) return;
  const sides: Side[] = isSteered.value ? ["plain", "steered"] : ["plain"];
  const id = ++last;
  const seed = settings.value.seed || String(crypto.getRandomValues(new Uint32Array(1))[0]);
  const answers = sides.map((side) =>
    signal<Answer>({
      id: `${id}-${side}`,
      side,
      prompt: promptOf(question, side),
      steering: side === "plain" ? {} : structuredClone(steering.value),
      pieces: [],
      progress: "waiting",
      problem: "",
      seed,
      reason: "",
      events: [],
    }),
  );
  turns.value = [...turns.value, { id, question, answers }];
  await runAll(answers);
}

/** Tries again what failed or was stopped. */
export async function retry(turn: Turn): Promise<void> {
  if (running.value) return;
  await runAll(turn.answers.filter((answer) => answer.value.progress !== "done"));
}

async function runAll(answers: Signal<Answer>[]): Promise<void> {
  const controller = new AbortController();
  running.value = controller;
  try {
    await Promise.all(answers.map((answer) => run(answer, controller.signal)));
  } finally {
    running.value = null;
  }
}

async function run(answer: Signal<Answer>, abort: AbortSignal): Promise<void> {
  const update = (change: Partial<Answer>) => (answer.value = { ...answer.value, ...change });
  update({ pieces: [], progress: "waiting", problem: "", events: [], report: undefined, usage: undefined });
  const pieces = new Pieces();
  const { prompt, steering, seed } = answer.value;
  const { temperature, maxTokens } = settings.value;
  const body = {
    model: modelId(),
    prompt,
    steering,
    sampling: { temperature, maxTokens, seed, logprobs: true },
    report: answer.value.side === "steered",
  };
  try {
    const generation = api.POST("/hearth/v1/generate", { body, parseAs: "stream", signal: abort });
    for await (const { delta, scopeTriggered, finished } of stream<Generation>(generation)) {
      if (delta) {
        pieces.take(delta);
        update({ pieces: pieces.shown, progress: "writing" });
      }
      if (scopeTriggered?.event) update({ events: [...answer.value.events, scopeTriggered.event] });
      if (finished) {
        const { reason, usage, report } = finished;
        update({ pieces: pieces.shown, progress: "done", reason, usage, report });
      }
    }
    if (answer.value.progress !== "done") update({ progress: "failed", problem: "The answer broke off." });
  } catch (problem) {
    if (isAbort(problem)) update({ progress: "stopped" });
    else update({ progress: "failed", problem: explain(problem) });
  }
}

/** The chat of one side: its own answers so far, then the question. */
function promptOf(question: string, side: Side): Prompt {
  const { system } = settings.value;
  const before = turns.value.flatMap((turn) => {
    const own = turn.answers.find((answer) => answer.value.side === side) ?? turn.answers[0];
    const text = own ? textOf(own.value) : "";
    if (!text) return [];
    return [
      { role: "ROLE_USER" as const, content: turn.question },
      { role: "ROLE_ASSISTANT" as const, content: text },
    ];
  });
  const opening = system.trim() ? [{ role: "ROLE_SYSTEM" as const, content: system.trim() }] : [];
  return { chat: { messages: [...opening, ...before, { role: "ROLE_USER", content: question }] } };
}
