/** One auto-steer job: how far it is, what it tried, and what came of it. */

import { useComputed, useSignal } from "@preact/signals";

import type { AutoSteerJob, AutoSteerTrial } from "../../api/types";
import { Problem } from "../../parts/feedback";
import { Icon } from "../../parts/icon";
import { duration, fixed, percent, signed } from "../../parts/numbers";
import { FeatureName } from "../../parts/feature";
import { cancel, close, isLive, type Stage, STAGES, type Watched, watched } from "../../state/autosteer";
import { go } from "../../state/place";
import { put } from "../../state/steering";
import { toast } from "../../state/toasts";
import { Candidates } from "./candidates";
import { ParetoPlot } from "./pareto";
import { Samples } from "./samples";
import { ValidationView } from "./validation";

export const STATES: Record<AutoSteerJob["state"], string> = {
  AUTO_STEER_STATE_UNSPECIFIED: "",
  AUTO_STEER_STATE_QUEUED: "waiting for its turn",
  AUTO_STEER_STATE_RUNNING: "at work",
  AUTO_STEER_STATE_SUCCEEDED: "done",
  AUTO_STEER_STATE_FAILED: "failed",
  AUTO_STEER_STATE_CANCELLED: "cancelled",
};

export function JobView() {
  const chosen = useSignal<AutoSteerTrial | null>(null);
  const now = watched.value!;
  const { job } = now;
  const live = isLive(job);
  const trial = chosen.value ?? now.best;
  const trials = useComputed(() => trialsOf(watched.value)).value;
  const front = job.result?.pareto ?? [];
  return (
    <section class="job" aria-label="Auto-steer job">
      <header class="row between wrap">
        <h2>“{job.spec?.behavior || "from texts"}”</h2>
        <div class="row">
          <span class="meta" role="status">
            {STATES[job.state]}
            {live && now.timeLeft !== null && `, about ${duration(now.timeLeft)} left`}
          </span>
          {live ? (
            <button type="button" onClick={() => void cancel()}>
              Cancel
            </button>
          ) : (
            <button type="button" class="ghost square" aria-label="Close this job" onClick={close}>
              <Icon name="close" />
            </button>
          )}
        </div>
      </header>
      <Verdict job={job} />
      {live && <Stages now={now} />}
      {now.interruption && live && (
        <p class="note">Interrupted: {now.interruption}. It goes on from where it was.</p>
      )}
      {job.error && <Problem text={`${job.error.message}.`} />}
      {trials.length + front.length > 0 && (
        <div class="two wide-left">
          <ParetoPlot
            trials={trials}
            front={front}
            best={now.best}
            chosen={trial}
            choose={(each) => (chosen.value = each)}
          />
          {trial && <TrialView trial={trial} isBest={trial.number === now.best?.number} />}
        </div>
      )}
      {now.validation || job.result?.validation ? (
        <ValidationView validation={(job.result?.validation ?? now.validation)!} judge={job.result?.judge} />
      ) : null}
      {live && !trials.length && now.candidates.length > 0 && <Candidates candidates={now.candidates} />}
      {!!job.result?.cutShort.length && (
        <p class="meta">Cut short by the budget: {job.result.cutShort.join("; ")}.</p>
      )}
    </section>
  );
}

/** Those that the log told, or, of a job whose log is not here, its front. */
function trialsOf(now: Watched | null): AutoSteerTrial[] {
  return now?.trials.length ? now.trials : (now?.job.result?.pareto ?? []);
}

const DECISIONS: Record<string, [string, string]> = {
  AUTO_STEER_DECISION_USE: ["Use it", "good"],
  AUTO_STEER_DECISION_PROMPT_INSTEAD: ["Prompt it instead", "fair"],
  AUTO_STEER_DECISION_NO_SAFE_STEER: ["No safe steer", "poor"],
};

function Verdict({ job }: { job: AutoSteerJob }) {
  const verdict = job.verdict ?? job.result?.verdict;
  if (!verdict) return null;
  const [title, tone] = DECISIONS[verdict.decision] ?? ["", "fair"];
  return (
    <div class={`verdict ${tone}`}>
      <strong>{title}</strong>
      <p>{verdict.reason}</p>
    </div>
  );
}

function Stages({ now }: { now: Watched }) {
  const stages = Object.entries(STAGES) as [Stage, readonly [string, string]][];
  const at = stages.findIndex(([stage]) => stage === now.stage);
  return (
    <ol class="stages" aria-label="Stages">
      {stages.map(([stage, [name, tip]], i) => {
        const share = i < at ? 1 : i === at && now.total ? now.done / now.total : 0;
        return (
          <li
            key={stage}
            class={i < at ? "past" : i === at ? "current" : ""}
            aria-current={i === at ? "step" : undefined}
          >
            <span class="term" tabIndex={0} data-tip={tip} aria-description={tip}>
              {name}
            </span>
            <progress max={1} value={share} aria-label={name} />
          </li>
        );
      })}
    </ol>
  );
}

function TrialView({ trial, isBest }: { trial: AutoSteerTrial; isBest: boolean }) {
  const apply = () => {
    put({ edits: trial.edits }, null);
    toast("The edits are in the playground.");
    go("playground");
  };
  return (
    <div class="trial">
      <h3>{isBest ? "The best trial" : `Trial ${trial.number}`}</h3>
      <dl class="facts">
        {(["score", "adherence", "relevance", "fluency"] as const).map((each) => (
          <div key={each}>
            <dt>
              <span class="term" tabIndex={0} data-tip={SCORES[each]} aria-description={SCORES[each]}>
                {each}
              </span>
            </dt>
            <dd>{percent(trial[each])}</dd>
          </div>
        ))}
      </dl>
      <ul class="edits">
        {trial.edits.map((edit) => (
          <li key={edit.feature?.index} class="row between">
            <FeatureName feature={edit.feature ?? {}} />
            <span class="meta nowrap">
              {signed(edit.nudge ?? 0)}{" "}
              {edit.nudge === undefined ? `pin ${fixed(edit.pin ?? 0)}` : "strength"}
            </span>
          </li>
        ))}
      </ul>
      <button type="button" class="primary" onClick={apply} disabled={!trial.edits.length}>
        Apply these edits
      </button>
      <Samples samples={trial.samples} />
    </div>
  );
}

export const SCORES = {
  score: "Harmonic mean of adherence, relevance and fluency.",
  adherence: "How far the texts show the behaviour.",
  relevance: "How far they answer their questions.",
  fluency: "How far they read like the unsteered model's own text.",
} as const;
