/** A feature in one line: its label, what is said of it, and what one can do with it. */

import type { ComponentChildren } from "preact";

import type { FeatureKey } from "../api/types";
import { featureOf, labelOf, name, readLabel } from "../state/features";
import { show } from "../state/place";
import { colour, colourBy } from "../state/reading";
import { add, has } from "../state/steering";
import { Icon } from "./icon";

/** Opens the feature's card. */
export function FeatureName({ feature }: { feature: FeatureKey }) {
  const { text, refuted } = readLabel(labelOf(feature));
  return (
    <button
      type="button"
      class={`link feature-name${refuted ? " refuted" : ""}`}
      data-tip={
        refuted ? "A test refuted this label: what the feature means is not known for certain." : undefined
      }
      onClick={() => show({ kind: "feature", key: feature })}
    >
      {text}
    </button>
  );
}

export function AddButton({ feature, value, wide }: { feature: FeatureKey; value?: number; wide?: boolean }) {
  const there = has(feature);
  const known = featureOf(feature);
  const label = there ? "Added" : "Add";
  return (
    <button
      type="button"
      class={wide ? "primary" : "small"}
      disabled={there}
      aria-label={`${label}: ${labelOf(feature)}`}
      data-tip={there ? "It has a slider already." : "Add it to the steering as a slider"}
      onClick={() => known && add(known, value)}
    >
      <Icon name={there ? "check" : "add"} />
      {wide ? (there ? "Added to steering" : "Add to steering") : label}
    </button>
  );
}

export function ColourButton({ feature, wide }: { feature: FeatureKey; wide?: boolean }) {
  const on = colour.value !== null && name(colour.value) === name(feature);
  return (
    <button
      type="button"
      class={wide ? "" : "ghost square"}
      aria-pressed={on}
      aria-label={`Colour tokens by ${labelOf(feature)}`}
      data-tip={on ? "Tokens are coloured by this feature" : "Colour tokens by this feature"}
      onClick={() => colourBy(on ? null : feature)}
    >
      <Icon name="drop" />
      {wide && (on ? "Colours the tokens" : "Colour tokens")}
    </button>
  );
}

interface RowProps {
  feature: FeatureKey;
  /** Numbers and marks under the label. */
  meta?: ComponentChildren;
  value?: number;
}

export const FeatureRow = ({ feature, meta, value }: RowProps) => (
  <li class="feature-row">
    <div class="grow">
      <FeatureName feature={feature} />
      {meta && <div class="meta">{meta}</div>}
    </div>
    <ColourButton feature={feature} />
    <AddButton feature={feature} value={value} />
  </li>
);
