/** One feature that steers: how, and how much. */

import { useId } from "preact/hooks";

import { ColourButton, FeatureName } from "../../parts/feature";
import { Icon } from "../../parts/icon";
import { fixed } from "../../parts/numbers";
import { labelOf } from "../../state/features";
import { change, KINDS, type Kind, remove, rest, type Slider } from "../../state/steering";

/** What the API allows. */
const MOST = 100;

export function SliderRow({ slider, at }: { slider: Slider; at: number }) {
  const id = useId();
  const { key, value, on } = slider;
  const kind = KINDS[slider.kind];
  const label = labelOf(key);
  const raw = rest.value.unit === "UNIT_RAW" && slider.kind !== "scale";
  const reach = Math.max(1, raw ? Math.abs(value) * 2 : Math.abs(value) / Math.max(kind.high, 1));
  const set = (text: string) => {
    const number = Number(text);
    if (text.trim() && Number.isFinite(number))
      change(at, { value: Math.min(Math.max(number, -MOST), MOST) });
  };
  return (
    <li class={`slider${on ? "" : " off"}`}>
      <div class="row">
        <input
          type="checkbox"
          checked={on}
          aria-label={`Steer by ${label}`}
          data-tip={on ? "Switch off without removing" : "Switch on"}
          onChange={(event) => change(at, { on: event.currentTarget.checked })}
        />
        <div class="grow clip">
          <FeatureName feature={key} />
        </div>
        <ColourButton feature={key} />
        <button type="button" class="ghost square" aria-label={`Remove ${label}`} onClick={() => remove(at)}>
          <Icon name="close" />
        </button>
      </div>
      <div class="dial">
        <input
          type="range"
          min={kind.low * reach}
          max={kind.high * reach}
          step={kind.step * reach}
          value={value}
          aria-label={`${kind.name} of ${label}`}
          aria-valuetext={`${fixed(value)} ${raw ? "raw" : kind.unit}`}
          list={slider.kind === "nudge" ? id : undefined}
          onInput={(event) => set(event.currentTarget.value)}
        />
        {slider.kind === "nudge" && (
          <datalist id={id}>
            <option value={0} />
          </datalist>
        )}
        <select
          class="kind"
          value={slider.kind}
          aria-label={`How ${label} is changed`}
          data-tip={kind.explains}
          onChange={(event) => {
            const next = event.currentTarget.value as Kind;
            change(at, { kind: next, value: KINDS[next].start });
          }}
        >
          {Object.entries(KINDS).map(([each, { name }]) => (
            <option key={each} value={each}>
              {name}
            </option>
          ))}
        </select>
        <input
          class="number"
          type="number"
          min={-MOST}
          max={MOST}
          step={kind.step}
          value={value}
          aria-label={`${kind.name} of ${label}, as a number`}
          onChange={(event) => set(event.currentTarget.value)}
        />
        <span class="meta unit">{raw ? "raw" : kind.unit}</span>
      </div>
    </li>
  );
}
