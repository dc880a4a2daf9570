/** Auto-steer: say what you want, get edits that hold. */

import { useEffect } from "preact/hooks";

import type { AutoSteerJob } from "../../api/types";
import { Problem } from "../../parts/feedback";
import { ago } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import {
  follow,
  isStarting,
  isWorking,
  jobs,
  list,
  problem,
  start,
  type Tier,
  watched,
  type Wish,
  wish,
} from "../../state/autosteer";
import { recoveries } from "../../state/health";
import { JobView, STATES } from "./job";

const TIERS: Record<Tier, [string, string]> = {
  AUTO_STEER_TIER_QUICK: ["Quick", "under a minute"],
  AUTO_STEER_TIER_DEFAULT: ["Default", "about 7 minutes"],
  AUTO_STEER_TIER_THOROUGH: ["Thorough", "about 25 minutes"],
};

const WISHES = ["talk about the sea", "talk like a pirate", "answer in numbers", "talk about music"];

export function AutoSteerView() {
  useEffect(() => void list(), [recoveries.value]);
  return (
    <div class="view">
      <header>
        <h1>Auto-steer</h1>
        <p class="lead">
          Say how the model should behave. Hearth searches for edits, tests them on questions that it was not
          tuned on, and says honestly whether they are worth using.
        </p>
      </header>
      <WishForm />
      <Problem text={problem.value} />
      {watched.value && <JobView />}
      <Past />
    </div>
  );
}

function WishForm() {
  const { behavior, tier, seconds, maxFeatures, seed } = wish.value;
  const set = (change: Partial<Wish>) => (wish.value = { ...wish.value, ...change });
  return (
    <form
      class="stack wish"
      onSubmit={(event) => {
        event.preventDefault();
        void start();
      }}
    >
      <label for="behavior">The model should…</label>
      <input
        id="behavior"
        maxLength={2000}
        placeholder="talk about the sea"
        autocomplete="off"
        value={behavior}
        onInput={(event) => set({ behavior: event.currentTarget.value })}
      />
      {!behavior && (
        <p class="meta suggestions">
          Try{" "}
          {WISHES.map((each) => (
            <button type="button" class="chip" key={each} onClick={() => set({ behavior: each })}>
              {each}
            </button>
          ))}
        </p>
      )}
      <div class="row between wrap">
        <div class="segments" role="radiogroup" aria-label="How much is tried">
          {Object.entries(TIERS).map(([each, [name, time]]) => (
            <label key={each}>
              <input
                type="radio"
                name="tier"
                checked={tier === each}
                onChange={() => set({ tier: each as Tier })}
              />
              <span>
                {name} <span class="meta">{time}</span>
              </span>
            </label>
          ))}
        </div>
        <button
          type="submit"
          class="primary"
          disabled={!behavior.trim() || isStarting.value || isWorking.value}
        >
          {isStarting.value ? "Starting…" : isWorking.value ? "A job is running" : "Find edits"}
        </button>
      </div>
      <details>
        <summary>More settings</summary>
        <div class="tuning">
          <label>
            <Term tip="The longest that the job may work, from 10 s; what it cuts short is said.">
              Seconds
            </Term>
            <input
              type="number"
              min={10}
              max={86400}
              placeholder="as above"
              value={seconds}
              onInput={(event) => set({ seconds: event.currentTarget.value })}
            />
          </label>
          <label>
            <Term tip="At most so many features are edited, 1 to 5.">Features</Term>
            <input
              type="number"
              min={1}
              max={5}
              placeholder="3"
              value={maxFeatures}
              onInput={(event) => set({ maxFeatures: event.currentTarget.value })}
            />
          </label>
          <label>
            <Term tip="The same seed gives the same trials, unless the time cuts them short.">Seed</Term>
            <input
              inputmode="numeric"
              placeholder="drawn"
              value={seed}
              onInput={(event) => set({ seed: event.currentTarget.value.replace(/\D/g, "").slice(0, 18) })}
            />
          </label>
        </div>
      </details>
    </form>
  );
}

function Past() {
  const past = (jobs.value ?? []).filter((job) => job.id !== watched.value?.job.id);
  if (!past.length) return null;
  return (
    <section>
      <h2>Earlier</h2>
      <ul class="jobs">
        {past.map((job) => (
          <li key={job.id}>
            <button type="button" class="link grow" onClick={() => void follow(job)}>
              {job.spec?.behavior || "from texts"}
            </button>
            <span class="meta">{outcome(job)}</span>
            <span class="meta nowrap">{ago(job.createTime)}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

const DECISIONS: Record<string, string> = {
  AUTO_STEER_DECISION_USE: "use it",
  AUTO_STEER_DECISION_PROMPT_INSTEAD: "prompt it instead",
  AUTO_STEER_DECISION_NO_SAFE_STEER: "no safe steer",
};

const outcome = (job: AutoSteerJob) => DECISIONS[job.verdict?.decision ?? ""] ?? STATES[job.state];
