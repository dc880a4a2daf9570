/** The column in which a steering is made. */

import { signal } from "@preact/signals";

import { Icon } from "../../parts/icon";
import { count } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import { clear, isChanged, loaded, rest, sliders } from "../../state/steering";
import { Keep } from "./keep";
import { Search } from "./search";
import { SliderRow } from "./slider";

/** On small screens the column folds away. */
const isOpen = signal(false);

export function SteeringColumn() {
  const active = sliders.value.filter((slider) => slider.on).length;
  return (
    <aside class={`steering${isOpen.value ? " open" : ""}`} aria-label="Steering">
      <button
        type="button"
        class="fold"
        aria-expanded={isOpen.value}
        aria-controls="steering-body"
        onClick={() => (isOpen.value = !isOpen.value)}
      >
        <Icon name="tune" />
        <span class="grow">
          {active ? `Steered by ${count(active, "feature")}` : "Add features to steer"}
        </span>
        <span class="meta">{isOpen.value ? "Close" : "Open"}</span>
      </button>
      <div class="steering-body" id="steering-body">
        <Search />
        <div class="row between heading">
          <h2>Steering</h2>
          {sliders.value.length > 0 && (
            <button type="button" class="link meta" onClick={clear}>
              Clear
            </button>
          )}
        </div>
        {loaded.value && (
          <p class="meta">
            Variant “{loaded.value.name}”{isChanged.value && ", changed"}
          </p>
        )}
        <Sliders />
        <Conditions />
        <Where />
        <Keep />
      </div>
    </aside>
  );
}

function Sliders() {
  if (sliders.value.length === 0) {
    return (
      <p class="hint">
        A model's inner state is made of{" "}
        <Term tip="A direction in the model's inner state that stands for one thing, such as the sea or a list. A sparse autoencoder found them.">
          features
        </Term>
        . Search one above, add it, and turn it up: every question is then answered twice, plain and steered.
      </p>
    );
  }
  return (
    <ul class="sliders" aria-label="Features that steer">
      {sliders.value.map((slider, at) => (
        <SliderRow key={`${slider.key.sae}/${slider.key.index}/${at}`} slider={slider} at={at} />
      ))}
    </ul>
  );
}

/** What a loaded variant holds besides sliders; it is sent, and kept as it is. */
function Conditions() {
  const scopes = rest.value.scopes?.length ?? 0;
  if (!scopes) return null;
  return (
    <p class="note">
      <Term tip="Edits that act only at tokens where a condition on features holds. They came with what was loaded, and are sent with each question.">
        {count(scopes, "conditional part")}
      </Term>{" "}
      <button type="button" class="link" onClick={() => (rest.value = { ...rest.value, scopes: [] })}>
        Remove
      </button>
    </p>
  );
}

const POSITIONS = {
  POSITIONS_ALL: "All tokens",
  POSITIONS_PROMPT: "The prompt only",
  POSITIONS_GENERATED: "The answer only",
} as const;

function Where() {
  if (sliders.value.length === 0) return null;
  return (
    <label class="row between meta">
      <Term tip="The tokens at which edits are made: those of the prompt, those of the answer, or all.">
        Acts on
      </Term>
      <select
        value={rest.value.positions?.replace("POSITIONS_UNSPECIFIED", "POSITIONS_ALL") ?? "POSITIONS_ALL"}
        onChange={(event) =>
          (rest.value = { ...rest.value, positions: event.currentTarget.value as keyof typeof POSITIONS })
        }
      >
        {Object.entries(POSITIONS).map(([value, label]) => (
          <option key={value} value={value}>
            {label}
          </option>
        ))}
      </select>
    </label>
  );
}
