/** The best settings on held-out questions, beside their rivals. */

import { useSignal } from "@preact/signals";

import type { AutoSteerArm, AutoSteerInterval, AutoSteerResult, AutoSteerValidation } from "../../api/types";
import { percent } from "../../parts/numbers";
import { Term } from "../../parts/tip";

const NAMES: Record<string, [string, string]> = {
  unsteered: ["Unsteered", "The model as it is."],
  "system prompt": ["System prompt", "The model told the behaviour in words."],
  "random feature": ["Random feature", "A null: another feature, just as strong."],
  "wrong sign": ["Wrong sign", "A null: the best edits turned round."],
};

interface Props {
  validation: AutoSteerValidation;
  judge?: AutoSteerResult["judge"];
}

export function ValidationView({ validation, judge }: Props) {
  const { arms, prompts } = validation;
  const best = validation.differences[0]?.arm;
  return (
    <section>
      <h3>
        <Term tip="Questions that nothing was tuned on. Each way of answering them is scored; lines are 95 % intervals.">
          On {prompts.length} held-out questions
        </Term>
      </h3>
      <div class="scroll" tabIndex={0} role="group" aria-label="Scores">
        <table class="numbers arms">
          <thead>
            <tr>
              <th>Way of answering</th>
              <th>Score, 0 to 100 %</th>
              <th>Adherence</th>
              <th>Relevance</th>
              <th>Fluency</th>
              <th>
                <Term tip="Controls answer the first questions alone; what is close answers more of them.">
                  Questions
                </Term>
              </th>
            </tr>
          </thead>
          <tbody>
            {arms.map((arm) => (
              <tr key={arm.name} class={arm.name === best ? "own" : ""}>
                <td>
                  <ArmName arm={arm} />
                </td>
                <td>
                  <Interval interval={arm.score} />
                </td>
                <td>{meanOf(arm.adherence)}</td>
                <td>{meanOf(arm.relevance)}</td>
                <td>{meanOf(arm.fluency)}</td>
                <td>{arm.samples.length}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {judge?.agreement !== undefined && (
        <p class="meta">
          Judged by “{judge.name}”, which ranks {percent(judge.agreement)} of {judge.pairs} test pairs as
          people do.
        </p>
      )}
      <SideBySide arms={arms} best={best} />
    </section>
  );
}

function ArmName({ arm }: { arm: AutoSteerArm }) {
  const [name, tip] = NAMES[arm.name] ?? [arm.name.replace(/^steered/, "Steered"), "Edits of the search."];
  return <Term tip={tip}>{name}</Term>;
}

const meanOf = (interval: AutoSteerInterval | undefined) => (interval ? percent(interval.mean) : "");

/** A mean with its interval, drawn. */
function Interval({ interval }: { interval: AutoSteerInterval | undefined }) {
  if (!interval) return null;
  const { mean, low, high } = interval;
  const text = `${percent(mean)}, 95 % interval ${percent(low)} to ${percent(high)}`;
  return (
    <span class="row">
      <svg class="interval" viewBox="0 0 120 12" role="img" aria-label={text} data-tip={text}>
        <line class="ground" x1="0" x2="120" y1="6" y2="6" />
        <line x1={low * 120} x2={high * 120} y1="6" y2="6" />
        <circle cx={mean * 120} cy="6" r="4" />
      </svg>
      <span>{percent(mean)}</span>
    </span>
  );
}

/** The same questions answered without and with the best edits. */
function SideBySide({ arms, best }: { arms: AutoSteerArm[]; best: string | undefined }) {
  const at = useSignal(0);
  const plain = arms.find((arm) => arm.name === "unsteered");
  const steered = arms.find((arm) => arm.name === best);
  const [left, right] = [plain?.samples[at.value], steered?.samples[at.value]];
  if (!left || !right) return null;
  const count = Math.min(plain!.samples.length, steered!.samples.length);
  const turn = (by: number) => (at.value = (at.value + by + count) % count);
  return (
    <section class="side-by-side">
      <div class="row between">
        <h4>{left.prompt}</h4>
        <div class="row nowrap">
          <button type="button" class="ghost square" aria-label="Previous question" onClick={() => turn(-1)}>
            ‹
          </button>
          <span class="meta">
            {at.value + 1} of {count}
          </span>
          <button type="button" class="ghost square" aria-label="Next question" onClick={() => turn(1)}>
            ›
          </button>
        </div>
      </div>
      <div class="answers of-2">
        <section class="answer plain">
          <h4>Unsteered</h4>
          <p class="text">{left.text}</p>
        </section>
        <section class="answer steered">
          <h4>{steered!.name.replace(/^steered/, "Steered")}</h4>
          <p class="text">{right.text}</p>
        </section>
      </div>
    </section>
  );
}
