/** Auto-steer jobs: one that is shown, live, and those of the past. */

import { batch, computed, signal } from "@preact/signals";

import { api, call, stream } from "../api/client";
import { explain, Failure } from "../api/failure";
import type {
  AutoSteerCandidate,
  AutoSteerJob,
  AutoSteerTrial,
  AutoSteerValidation,
  JobEvent,
} from "../api/types";
import { need } from "./features";
import { modelId, saeId } from "./session";

export const STAGES = {
  AUTO_STEER_STAGE_DRAFT: [
    "Draft",
    "Writes example texts and splits questions into those to tune on and those held out.",
  ],
  AUTO_STEER_STAGE_RETRIEVE: [
    "Retrieve",
    "Finds candidate features by label, by contrast and among neighbours.",
  ],
  AUTO_STEER_STAGE_CAUSAL: ["Causal", "Keeps those that change the next token in the right direction."],
  AUTO_STEER_STAGE_SCREEN: ["Screen", "Tries each one that is left in short texts."],
  AUTO_STEER_STAGE_CEILING: ["Ceiling", "Finds how strong each may be before text falls apart."],
  AUTO_STEER_STAGE_SEARCH: ["Search", "Searches the weights of the best ones together."],
  AUTO_STEER_STAGE_VALIDATE: [
    "Validate",
    "Tests the best on held-out questions, beside a system prompt and nulls.",
  ],
} as const;

export type Stage = keyof typeof STAGES;
export type Tier = "AUTO_STEER_TIER_QUICK" | "AUTO_STEER_TIER_DEFAULT" | "AUTO_STEER_TIER_THOROUGH";

export interface Wish {
  behavior: string;
  tier: Tier;
  /** Empty leaves it to the tier. */
  seconds: string;
  maxFeatures: string;
  seed: string;
}

/** What the events of a job have told so far. */
export interface Watched {
  job: AutoSteerJob;
  stage: Stage | null;
  done: number;
  total: number;
  timeLeft: number | null;
  candidates: AutoSteerCandidate[];
  trials: AutoSteerTrial[];
  best: AutoSteerTrial | null;
  validation: AutoSteerValidation | null;
  interruption: string;
}

export const wish = signal<Wish>({
  behavior: "",
  tier: "AUTO_STEER_TIER_QUICK",
  seconds: "",
  maxFeatures: "",
  seed: "",
});
export const jobs = signal<AutoSteerJob[] | null>(null);
export const watched = signal<Watched | null>(null);
export const problem = signal("");
export const isStarting = signal(false);
let watching: AbortController | null = null;

const LIVE = ["AUTO_STEER_STATE_QUEUED", "AUTO_STEER_STATE_RUNNING"];
export const isLive = (job: AutoSteerJob) => LIVE.includes(job.state);
export const isWorking = computed(() => watched.value !== null && isLive(watched.value.job));

export async function list(): Promise<void> {
  try {
    const query = { pageSize: 20 };
    jobs.value = (await call(api.GET("/hearth/v1/autosteer/jobs", { params: { query } }))).jobs;
  } catch (failure) {
    problem.value = explain(failure);
  }
}

export async function start(): Promise<void> {
  const { behavior, tier, seconds, maxFeatures, seed } = wish.value;
  const spec = {
    model: modelId(),
    sae: saeId(),
    behavior: behavior.trim(),
    tier,
    ...(seconds && { budget: `${seconds}s` }),
    ...(maxFeatures && { maxFeatures: Number(maxFeatures) }),
    ...(seed && { seed }),
  };
  problem.value = "";
  isStarting.value = true;
  try {
    const body = { spec, requestId: crypto.randomUUID() };
    const { job } = await call(api.POST("/hearth/v1/autosteer/jobs", { body }));
    void follow(job!);
    void list();
  } catch (failure) {
    problem.value = explain(failure);
  } finally {
    isStarting.value = false;
  }
}

export async function cancel(): Promise<void> {
  const id = watched.value?.job.id ?? "";
  try {
    await call(api.POST("/hearth/v1/autosteer/jobs/{id}/cancel", { params: { path: { id } } }));
  } catch (failure) {
    problem.value = explain(failure);
  }
}

export function close(): void {
  watching?.abort();
  watched.value = null;
  void list();
}

/** Shows a job and follows its events to its end. A stream that breaks off is taken up where it was. */
export async function follow(job: AutoSteerJob): Promise<void> {
  watching?.abort();
  const { signal: abort } = (watching = new AbortController());
  watched.value = {
    job,
    stage: null,
    done: 0,
    total: 0,
    timeLeft: null,
    candidates: [],
    trials: [],
    best: null,
    validation: null,
    interruption: "",
  };
  problem.value = "";
  let after = "0";
  for (let wait = 500; !abort.aborted; wait = Math.min(wait * 2, 8_000)) {
    try {
      const params = { path: { id: job.id }, query: { after } };
      const events = api.GET("/hearth/v1/autosteer/jobs/{id}/events", {
        params,
        parseAs: "stream",
        signal: abort,
      });
      for await (const event of stream<JobEvent>(events)) {
        after = event.sequence;
        wait = 500;
        batch(() => take(event));
        if (event.ended) return await conclude(job.id);
      }
    } catch (failure) {
      if (abort.aborted) return;
      if (!(failure instanceof Failure) || !failure.passing) {
        problem.value = explain(failure);
        return;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
  }
}

/** The job as it is kept: with its result, its times and its verdict. */
async function conclude(id: string): Promise<void> {
  try {
    const { job } = await call(api.GET("/hearth/v1/autosteer/jobs/{id}", { params: { path: { id } } }));
    const now = watched.value;
    if (now?.job.id === id)
      watched.value = { ...now, job: job!, best: job!.result?.best ?? job!.best ?? now.best };
    void need((job!.result?.best?.edits ?? []).map((edit) => edit.feature ?? {}));
  } catch (failure) {
    problem.value = explain(failure);
  }
  void list();
}

function take(event: JobEvent): void {
  const now = watched.value;
  if (!now) return;
  const next: Watched = { ...now, interruption: event.interrupted?.reason ?? "" };
  if (now.job.state === "AUTO_STEER_STATE_QUEUED")
    next.job = { ...now.job, state: "AUTO_STEER_STATE_RUNNING" };
  const { stageStarted, progress, candidates, trial, validation, ended } = event;
  if (stageStarted) Object.assign(next, { stage: stageStarted.stage, done: 0, total: 0 });
  if (progress) {
    const timeLeft = progress.timeLeft ? Number.parseFloat(progress.timeLeft) : null;
    const best = progress.best ?? now.best;
    Object.assign(next, {
      stage: progress.stage,
      done: progress.done,
      total: progress.total,
      timeLeft,
      best,
    });
  }
  if (candidates) {
    next.candidates = candidates.candidates;
    void need(next.candidates.map((candidate) => candidate.feature ?? {}));
  }
  if (trial) {
    next.trials = [...now.trials, trial];
    if (!next.best || trial.score > next.best.score) next.best = trial;
    void need(trial.edits.map((edit) => edit.feature ?? {}));
  }
  if (validation) next.validation = validation;
  if (ended) {
    next.job = { ...next.job, state: ended.state, result: ended.result, error: ended.error };
    next.best = ended.result?.best ?? ended.best ?? next.best;
  }
  watched.value = next;
}
