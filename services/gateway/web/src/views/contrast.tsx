/** Contrast: the features that tell two sets of texts apart. */

import type { Signal } from "@preact/signals";
import { useId } from "preact/hooks";

import type { FeatureContrast } from "../api/types";
import { Loading, Problem } from "../parts/feedback";
import { AddButton, ColourButton, FeatureName } from "../parts/feature";
import { count, fixed, probability, signed, whole } from "../parts/numbers";
import { Term } from "../parts/tip";
import {
  behavior,
  compare,
  contrast,
  draft,
  negative,
  pooling,
  type Pooling,
  positive,
  problem,
  textsOf,
  work,
} from "../state/contrast";
import { saeId } from "../state/session";

const POOLINGS: Record<Pooling, string> = {
  POOLING_MEAN: "Mean of all tokens",
  POOLING_MAX: "Largest token",
  POOLING_LAST: "Last token",
};

export function ContrastView() {
  const isReady = textsOf(positive.value).length > 0 && textsOf(negative.value).length > 0;
  return (
    <div class="view">
      <header>
        <h1>Contrast</h1>
        <p class="lead">
          Give texts that show something and texts that do not: see which features tell them apart.
        </p>
      </header>
      <Draft />
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void compare();
        }}
      >
        <div class="two">
          <Texts
            title="Texts that show it"
            texts={positive}
            placeholder={"The ship sailed at dawn.\nWaves broke over the pier."}
          />
          <Texts
            title="Texts that do not"
            texts={negative}
            placeholder={"The train left at noon.\nCars filled the road."}
          />
        </div>
        <div class="row wrap">
          <label class="row">
            <Term tip="How the activations at a text's tokens become one number for each feature.">
              Compare by
            </Term>
            <select
              value={pooling.value}
              onChange={(event) => (pooling.value = event.currentTarget.value as Pooling)}
            >
              {Object.entries(POOLINGS).map(([value, label]) => (
                <option key={value} value={value}>
                  {label}
                </option>
              ))}
            </select>
          </label>
          <button type="submit" class="primary" disabled={!isReady || work.value !== ""}>
            {work.value === "contrast" ? "Comparing…" : "Compare"}
          </button>
        </div>
      </form>
      <Problem text={problem.value} />
      {work.value === "contrast" && !contrast.value ? <Loading what="Comparing" lines={6} /> : <Result />}
    </div>
  );
}

const Draft = () => (
  <form
    class="row wrap"
    onSubmit={(event) => {
      event.preventDefault();
      void draft();
    }}
  >
    <label class="row grow">
      <span class="nowrap">Or have the model write them:</span>
      <input
        class="grow"
        placeholder="talk about the sea"
        value={behavior.value}
        onInput={(event) => (behavior.value = event.currentTarget.value)}
      />
    </label>
    <button type="submit" disabled={!behavior.value.trim() || work.value !== ""}>
      {work.value === "draft" ? "Writing…" : "Write examples"}
    </button>
  </form>
);

function Texts({ title, texts, placeholder }: { title: string; texts: Signal<string>; placeholder: string }) {
  const id = useId();
  const number = textsOf(texts.value).length;
  return (
    <div class="stack">
      <label for={id} class="row between">
        <strong>{title}</strong>
        <span class="meta">{number ? count(number, "text") : "one a line"}</span>
      </label>
      <textarea
        id={id}
        rows={7}
        placeholder={placeholder}
        value={texts.value}
        onInput={(event) => (texts.value = event.currentTarget.value)}
      />
    </div>
  );
}

function Result() {
  const found = contrast.value;
  if (!found) return null;
  return (
    <section aria-label="What tells them apart" class={work.value === "contrast" ? "stale" : ""}>
      <p class="meta">
        {whole(found.testedFeatures)} features fire in either set; the q-values are corrected for that many.
        With few texts no q-value can be small.
      </p>
      <div class="two">
        <Side title="More in texts that show it" rows={found.positive} />
        <Side title="More in texts that do not" rows={found.negative} />
      </div>
    </section>
  );
}

function Side({ title, rows }: { title: string; rows: FeatureContrast[] }) {
  return (
    <div>
      <h3>{title}</h3>
      {rows.length === 0 ? (
        <p class="meta">No feature leans this way.</p>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-label={title}>
          <table class="numbers contrast">
            <thead>
              <tr>
                <th>Feature</th>
                <th>
                  <Term tip="The probability that a random text of the first set has the larger value: 0.5 tells nothing, 1 or 0 tells them apart without a mistake.">
                    AUROC
                  </Term>
                </th>
                <th>
                  <Term tip="Hedges' g: the difference of the means over the pooled standard deviation. 0.8 is large.">
                    Effect
                  </Term>
                </th>
                <th>
                  <Term tip="Of all features that look at least this telling, the share that would be so by chance.">
                    q
                  </Term>
                </th>
                <th>
                  <span class="hidden">Use it</span>
                </th>
              </tr>
            </thead>
            <tbody>
              {rows.map((row) => {
                const feature = { sae: saeId(), index: row.index };
                return (
                  <tr key={row.index}>
                    <td>
                      <FeatureName feature={feature} />
                    </td>
                    <td data-tip={`mean ${fixed(row.meanPositive)} against ${fixed(row.meanNegative)} raw`}>
                      {fixed(row.auroc)}
                    </td>
                    <td>{signed(row.effectSize, 1)}</td>
                    <td class="nowrap">{probability(row.qValue)}</td>
                    <td>
                      <div class="row end">
                        <ColourButton feature={feature} />
                        <AddButton feature={feature} />
                      </div>
                    </td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}
