/** One answer: its tokens, what they took, and what the steering delivered. */

import type { Signal } from "@preact/signals";

import type { EditReport } from "../../api/types";
import { Icon } from "../../parts/icon";
import { fixed, percent } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import type { Answer, Progress } from "../../state/chat";
import { labelOf } from "../../state/features";
import { Tokens } from "./tokens";

const TITLES = { plain: "Plain", steered: "Steered" } as const;

const PROGRESS: Record<Progress, string> = {
  waiting: "waiting for its turn…",
  writing: "writing…",
  done: "",
  stopped: "stopped",
  failed: "broken off",
};

export function AnswerCard({ answer }: { answer: Signal<Answer> }) {
  const { side, progress, problem, events } = answer.value;
  const isBusy = progress === "waiting" || progress === "writing";
  return (
    <section class={`answer ${side}`} aria-label={`${TITLES[side]} answer`} aria-busy={isBusy}>
      <header class="row between">
        <h4>{TITLES[side]}</h4>
        <span class="meta" role="status">
          {PROGRESS[progress]}
        </span>
      </header>
      <Tokens answer={answer.value} />
      {problem && (
        <p class="problem" role="alert">
          <Icon name="alert" />
          {problem}
        </p>
      )}
      {events.length > 0 && <p class="meta">Conditions told: {[...new Set(events)].join(", ")}</p>}
      <Footer answer={answer.value} />
    </section>
  );
}

function Footer({ answer }: { answer: Answer }) {
  const { usage, reason, report, seed } = answer;
  if (!usage) return null;
  const speed = usage.decodeSeconds > 0 ? (usage.completionTokens - 1) / usage.decodeSeconds : 0;
  return (
    <footer class="meta">
      <span>{usage.completionTokens} tokens</span>
      {speed > 0 && <span>{fixed(speed, 0)} tokens/s</span>}
      <span data-tip="The same question with the same seed and steering gives the same answer.">
        seed {seed}
      </span>
      {reason === "FINISH_REASON_LENGTH" && (
        <span data-tip="Raise the limit in the settings beside the question.">cut at the limit</span>
      )}
      {reason === "FINISH_REASON_ABORTED" && <span>ended by a condition</span>}
      {report && report.edits.length > 0 && (
        <details>
          <summary>what the edits delivered</summary>
          <table class="numbers">
            <thead>
              <tr>
                <th>Feature</th>
                <th>
                  <Term tip="The value that was asked for.">asked</Term>
                </th>
                <th>
                  <Term tip="What the edited stream carries when the SAE reads it again: mean change of the activation for a nudge, mean activation for a pin, factor for a scale.">
                    delivered
                  </Term>
                </th>
              </tr>
            </thead>
            <tbody>
              {report.edits.map((edit, i) => (
                <tr key={i}>
                  <td>{labelOf(edit.edit?.feature ?? {})}</td>
                  <td>{asked(edit)}</td>
                  <td>{delivered(edit)}</td>
                </tr>
              ))}
            </tbody>
          </table>
          <p>
            The stream changed by {percent(report.meanRelativeDelta)} of its norm on average, at{" "}
            {report.editedTokens} tokens
            {report.clippedTokens > 0 &&
              `; at ${report.clippedTokens} of them it was scaled down to the limit`}
            .
          </p>
        </details>
      )}
    </footer>
  );
}

const isNudge = ({ edit }: EditReport) => edit?.nudge !== undefined;
const unitOf = ({ edit }: EditReport) => (edit?.scale !== undefined ? "×" : "activation");

/** Nudges are asked in strength; what they deliver is told in the same unit of activations as for the others. */
const asked = (report: EditReport) =>
  isNudge(report)
    ? `${fixed(report.requested?.strength ?? 0)} strength`
    : `${fixed(report.edit?.scale ?? report.requested?.activationUnits ?? 0)} ${unitOf(report)}`;

const delivered = (report: EditReport) =>
  `${fixed(report.delivered?.activationUnits ?? 0)} ${unitOf(report)}`;
