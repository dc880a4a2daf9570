/** Where one asks, and how answers are drawn. */

import { signal } from "@preact/signals";
import { useId } from "preact/hooks";

import { Icon } from "../../parts/icon";
import { Term } from "../../parts/tip";
import { ask, isRunning, settings, stop } from "../../state/chat";
import { model } from "../../state/session";
import { isSteered } from "../../state/steering";

const question = signal("");
const isTuning = signal(false);

export function Composer() {
  const id = useId();
  const isReady = question.value.trim() !== "" && model.value !== undefined;
  const submit = () => {
    if (!isReady || isRunning.value) return;
    void ask(question.value.trim());
    question.value = "";
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      {isTuning.value && <Tuning />}
      <div class="row">
        <button
          type="button"
          class="ghost square"
          aria-label="Settings of answers"
          aria-expanded={isTuning.value}
          data-tip="Temperature, length, seed, system prompt"
          onClick={() => (isTuning.value = !isTuning.value)}
        >
          <Icon name="tune" />
        </button>
        <label for={id} class="hidden">
          Your question
        </label>
        <textarea
          id={id}
          rows={1}
          placeholder={isSteered.value ? "Ask the plain and the steered model…" : "Ask the model…"}
          value={question.value}
          onInput={(event) => (question.value = event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
            event.preventDefault();
            submit();
          }}
        />
        {isRunning.value ? (
          <button type="button" class="square" aria-label="Stop" onClick={stop}>
            <Icon name="stop" />
          </button>
        ) : (
          <button type="submit" class="primary square" aria-label="Ask" disabled={!isReady}>
            <Icon name="send" />
          </button>
        )}
      </div>
    </form>
  );
}

function Tuning() {
  const { temperature, maxTokens, seed, system } = settings.value;
  const set = (change: Partial<typeof settings.value>) => (settings.value = { ...settings.value, ...change });
  return (
    <div class="tuning">
      <label>
        <Term tip="How freely tokens are drawn: 0 takes the likeliest each time, 1 follows the model's own probabilities.">
          Temperature
        </Term>
        <input
          type="number"
          min={0}
          max={10}
          step={0.1}
          value={temperature}
          onChange={(event) => set({ temperature: bounded(event.currentTarget.value, 0, 10, 0.7) })}
        />
      </label>
      <label>
        <Term tip="The most tokens that an answer may have; a token is about three quarters of a word.">
          Tokens
        </Term>
        <input
          type="number"
          min={1}
          max={4096}
          step={1}
          value={maxTokens}
          onChange={(event) =>
            set({ maxTokens: Math.round(bounded(event.currentTarget.value, 1, 4096, 120)) })
          }
        />
      </label>
      <label>
        <Term tip="The same seed gives the same answers. Both sides always share one; left empty, each question draws a new one.">
          Seed
        </Term>
        <input
          inputmode="numeric"
          pattern="[0-9]*"
          placeholder="new each time"
          value={seed}
          onInput={(event) => set({ seed: event.currentTarget.value.replace(/\D/g, "").slice(0, 18) })}
        />
      </label>
      <label class="wide">
        System prompt
        <textarea
          rows={1}
          placeholder="the model's own"
          value={system}
          onInput={(event) => set({ system: event.currentTarget.value })}
        />
      </label>
    </div>
  );
}

function bounded(text: string, low: number, high: number, otherwise: number): number {
  const number = Number(text);
  return text.trim() && Number.isFinite(number) ? Math.min(Math.max(number, low), high) : otherwise;
}
