/** A feature's card: all that is known of it. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { explain } from "../../api/failure";
import type { Feature, FeatureKey, TokenWeight } from "../../api/types";
import { AddButton, ColourButton, FeatureRow } from "../../parts/feature";
import { Loading, Problem } from "../../parts/feedback";
import { fixed, percent, signed } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import { featureOf, needIndices, readLabel, readWhole } from "../../state/features";
import { recoveries } from "../../state/health";
import { Contest } from "./contest";
import { Doses } from "./doses";
import { Examples } from "./examples";
import { Histogram } from "./histogram";

export function FeatureCard({ feature: key }: { feature: FeatureKey }) {
  const whole = useSignal<Feature | null>(null);
  const problem = useSignal("");
  const load = async () => {
    problem.value = "";
    try {
      const read = await readWhole(key);
      whole.value = read;
      void needIndices([...read.decoderNeighbors, ...read.coactivationNeighbors].map((each) => each.index));
    } catch (failure) {
      problem.value = explain(failure);
    }
  };
  useEffect(() => void load(), [recoveries.value]);
  const feature = whole.value ?? featureOf(key);
  if (!feature)
    return problem.value ? (
      <Problem text={problem.value} retry={() => void load()} />
    ) : (
      <Loading what="Reading the feature" lines={8} />
    );
  return (
    <div class="card">
      <Head feature={feature} />
      <div class="row wrap">
        <AddButton feature={key} wide />
        <ColourButton feature={key} wide />
      </div>
      <Problem text={problem.value} retry={() => void load()} />
      {feature.description && <p>{feature.description}</p>}
      <Facts feature={feature} />
      <Weights feature={feature} />
      {whole.value ? (
        <Whole feature={whole.value} reload={load} />
      ) : (
        !problem.value && <Loading what="Reading examples" lines={8} />
      )}
    </div>
  );
}

function Head({ feature }: { feature: Feature }) {
  const { text, refuted } = readLabel(feature.label);
  return (
    <>
      <h2 class={refuted ? "refuted" : ""}>{text || `Feature ${feature.key?.index ?? 0}`}</h2>
      <p class="meta">
        <span>feature {feature.key?.index ?? 0}</span>
        {CLASSES[feature.featureClass] && (
          <span class="chip still" data-tip={CLASSES[feature.featureClass]![1]}>
            {CLASSES[feature.featureClass]![0]}
          </span>
        )}
        <span>labelled by {sourceOf(feature.labelSource)}</span>
        {refuted && <span class="cold">a test refuted this label</span>}
      </p>
    </>
  );
}

const CLASSES: Partial<Record<Feature["featureClass"], [string, string]>> = {
  FEATURE_CLASS_CONCEPT: ["concept", "A meaning that different words share."],
  FEATURE_CLASS_LEXICAL: ["word", "One word, or forms of it."],
  FEATURE_CLASS_SYNTACTIC: ["syntax", "Function words, punctuation, parts of words, line breaks."],
  FEATURE_CLASS_POSITION: ["position", "A place in the text or in a turn, whatever stands there."],
  FEATURE_CLASS_TEMPLATE: ["template", "The chat template's own tokens."],
  FEATURE_CLASS_DEAD: ["dead", "Never active."],
};

function sourceOf(source: string): string {
  if (!source) return "nobody";
  if (source === "offline") return "the offline labeller";
  return source.replace(/^person:$/, "a person").replace(/^person:/, "");
}

function Facts({ feature }: { feature: Feature }) {
  const facts: [string, string, string | undefined][] = [
    [
      "Label score",
      "How well the label alone tells texts in which the feature fires from others (AUROC). 0.5 is chance, 1 perfect.",
      feature.labelScore?.toFixed(2),
    ],
    ["Density", "Share of all tokens on which the feature fires.", percent(feature.density)],
    [
      "Usual maximum",
      "The activation that counts as 1.0: the 99.9th percentile where it fires, in the SAE's own numbers.",
      `${fixed(feature.scale)} raw`,
    ],
    [
      "Output score",
      "Nats by which a nudge of strength 0.5 raises the tokens that the feature promotes above all others.",
      feature.outputScore === undefined ? undefined : `${signed(feature.outputScore)} nats`,
    ],
    [
      "Steerability",
      "How far nudges moved texts towards the feature while they stayed fluent; 0 where no fluent dose does.",
      feature.steerability?.toFixed(2),
    ],
  ];
  return (
    <dl class="facts">
      {facts.map(([name, tip, value]) => (
        <div key={name}>
          <dt>
            <Term tip={tip}>{name}</Term>
          </dt>
          <dd>{value ?? <span class="meta">not measured</span>}</dd>
        </div>
      ))}
    </dl>
  );
}

function Weights({ feature }: { feature: Feature }) {
  if (!feature.promoted.length && !feature.suppressed.length) return null;
  return (
    <>
      <h3>
        <Term tip="What a nudge of strength 0.5 does to the score of the next token, in nats: a rise of 0.7 doubles a token's odds.">
          Tokens it moves
        </Term>
      </h3>
      <WeightList title="Promotes" weights={feature.promoted} />
      <WeightList title="Suppresses" weights={feature.suppressed} />
    </>
  );
}

const WeightList = ({ title, weights }: { title: string; weights: TokenWeight[] }) =>
  weights.length ? (
    <div class="weights">
      <span class="meta">{title}</span>
      <ul>
        {weights.slice(0, 10).map(({ token, id, weight }) => (
          <li key={id} data-tip={`${signed(weight)} nats`}>
            <code>{token.replace(/^ /, "·").replaceAll("\n", "↵") || "∅"}</code>
            <span class="hidden">{signed(weight)} nats</span>
          </li>
        ))}
      </ul>
    </div>
  ) : null;

function Whole({ feature, reload }: { feature: Feature; reload: () => Promise<void> }) {
  const sae = feature.key?.sae ?? "";
  const neighbors: [string, string, Feature["decoderNeighbors"]][] = [
    [
      "Push the model alike",
      "Features whose decoder directions are most similar; the number is their cosine.",
      feature.decoderNeighbors,
    ],
    [
      "Fire together",
      "Features that are active at the same tokens; the number is the cosine of their activations.",
      feature.coactivationNeighbors,
    ],
  ];
  return (
    <>
      <Histogram feature={feature} />
      <Examples feature={feature} />
      <Doses doses={feature.doses} />
      {neighbors.map(([title, tip, found]) =>
        found.length ? (
          <section key={title}>
            <h3>
              <Term tip={tip}>{title}</Term>
            </h3>
            <ul class="features">
              {found.slice(0, 6).map(({ index, similarity }) => (
                <FeatureRow key={index} feature={{ sae, index }} meta={<span>{fixed(similarity)}</span>} />
              ))}
            </ul>
          </section>
        ) : null,
      )}
      <Contest key={feature.etag} feature={feature} reload={reload} />
    </>
  );
}
