/** A token of an answer: the features that fire at it, and what raised its logit. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import { explain } from "../../api/failure";
import type { Attribution } from "../../api/types";
import { FeatureName, FeatureRow } from "../../parts/feature";
import { Loading, Problem } from "../../parts/feedback";
import { fixed, percent, signed } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import type { Answer } from "../../state/chat";
import { featureOf, needIndices } from "../../state/features";
import { attribute, type Reading, strongestOf } from "../../state/reading";
import { saeId } from "../../state/session";

export function TokenCard({ answer, at }: { answer: Answer; at: number }) {
  const piece = answer.pieces[at];
  return (
    <div class="card">
      <h2 class="token-title">
        <code>{visible(piece?.text ?? "")}</code>
      </h2>
      <p class="meta">
        <span>
          token {at + 1} of the {answer.side} answer
        </span>
        {piece?.probability !== undefined && <span>probability {percent(piece.probability)}</span>}
      </p>
      <Context answer={answer} at={at} />
      <h3>
        <Term tip="The features that the sparse autoencoder finds in the model's state at this token, strongest first. 1.0 is the largest activation that a feature usually reaches.">
          Features at this token
        </Term>
      </h3>
      <Strongest answer={answer} at={at} />
      <h3>
        <Term tip="Logit attribution: by how much each feature's activations, at this place and before, raised or lowered the score (logit, in nats) of this token, to first order. Worked out on the model without steering.">
          Why this token
        </Term>
      </h3>
      <Why answer={answer} at={at} />
    </div>
  );
}

/** Spaces and line breaks as signs. */
const visible = (text: string) => text.replaceAll("\n", "↵").replace(/^ | $/g, "·") || "∅";

function Context({ answer, at }: { answer: Answer; at: number }) {
  const text = (from: number, to: number) =>
    answer.pieces
      .slice(from, to)
      .map((piece) => piece.text)
      .join("");
  return (
    <blockquote class="context">
      {at > 12 && "…"}
      {text(Math.max(0, at - 12), at)}
      <mark>{text(at, at + 1)}</mark>
      {text(at + 1, at + 9)}
      {at + 9 < answer.pieces.length && "…"}
    </blockquote>
  );
}

function Strongest({ answer, at }: { answer: Answer; at: number }) {
  const found = useSignal<Reading[] | null>(null);
  const problem = useSignal("");
  const load = async () => {
    problem.value = "";
    try {
      const row = (await strongestOf(answer))[at] ?? [];
      await needIndices(row.map((reading) => reading.index));
      found.value = row;
    } catch (failure) {
      problem.value = explain(failure);
    }
  };
  useEffect(() => void load(), []);
  if (problem.value) return <Problem text={problem.value} retry={() => void load()} />;
  if (!found.value) return <Loading what="Reading features" lines={6} />;
  if (!found.value.length) return <p class="meta">No feature fires here.</p>;
  return (
    <ul class="features">
      {found.value.map(({ index, value }) => {
        const feature = { sae: saeId(), index };
        const scale = featureOf(feature)?.scale || 1;
        return (
          <FeatureRow
            key={index}
            feature={feature}
            meta={
              <>
                <Bar share={value / scale} />
                <span>{fixed(value / scale)}</span>
                <span data-tip="The SAE's own number.">{fixed(value)} raw</span>
              </>
            }
          />
        );
      })}
    </ul>
  );
}

function Why({ answer, at }: { answer: Answer; at: number }) {
  const found = useSignal<(Attribution & { first: number }) | null>(null);
  const problem = useSignal("");
  const load = () => {
    problem.value = "";
    attribute(answer, at).then(
      (attribution) => (found.value = attribution),
      (failure) => (problem.value = explain(failure)),
    );
  };
  useEffect(load, []);
  if (problem.value) return <Problem text={problem.value} retry={load} />;
  if (!found.value) return <Loading what="Working out what raised it" lines={6} />;
  const { features, logit, featureEffect, errorEffect, first } = found.value;
  const most = Math.max(...features.map((feature) => Math.abs(feature.effect)), 1e-9);
  return (
    <>
      <p class="meta">
        <span>logit {fixed(logit)}</span>
        <span data-tip="The sum of the effects of all features.">features {signed(featureEffect)}</span>
        <span data-tip="The effect of what the SAE does not represent.">
          error term {signed(errorEffect)}
        </span>
      </p>
      <ul class="effects">
        {features.map(({ index, effect, positions }) => {
          const place = positions[0]?.position;
          return (
            <li key={index}>
              <div class="row between">
                <FeatureName feature={{ sae: saeId(), index }} />
                <strong class={effect < 0 ? "cold" : "hot"}>{signed(effect)}</strong>
              </div>
              <div class="row">
                <Bar share={Math.abs(effect) / most} cold={effect < 0} />
                <span class="meta">{place !== undefined && `most at ${placeOf(answer, place - first)}`}</span>
              </div>
            </li>
          );
        })}
      </ul>
    </>
  );
}

/** A place of the answer by its word; one of the prompt by what it is. */
function placeOf(answer: Answer, at: number): string {
  const text = answer.pieces[at]?.text.trim();
  return at < 0 ? "the prompt" : text ? `“${text}”` : `token ${at + 1}`;
}

const Bar = ({ share, cold }: { share: number; cold?: boolean }) => (
  <span class={`bar${cold ? " cold" : ""}`} aria-hidden="true">
    <span style={{ width: `${Math.min(Math.max(share, 0), 1) * 100}%` }} />
  </span>
);
