/** What each trial gains in adherence and loses in fluency. */

import type { AutoSteerTrial } from "../../api/types";
import { percent } from "../../parts/numbers";
import { Term } from "../../parts/tip";

const WIDTH = 440;
const HEIGHT = 300;
const LEFT = 44;
const BOTTOM = 40;
const TOP = 10;
const RIGHT = 12;
const TICKS = [0, 0.25, 0.5, 0.75, 1];

const x = (fluency: number) => LEFT + fluency * (WIDTH - LEFT - RIGHT);
const y = (adherence: number) => HEIGHT - BOTTOM - adherence * (HEIGHT - BOTTOM - TOP);

interface Props {
  trials: AutoSteerTrial[];
  /** Trials that no other one surpasses; empty while they are searched. */
  front: AutoSteerTrial[];
  best: AutoSteerTrial | null;
  chosen: AutoSteerTrial | null;
  choose: (trial: AutoSteerTrial) => void;
}

export function ParetoPlot({ trials, front, best, chosen, choose }: Props) {
  const shown = front.length ? front : frontOf(trials);
  const onFront = new Set(shown.map((trial) => trial.number));
  const line = shown.toSorted((a, b) => a.fluency - b.fluency || b.adherence - a.adherence);
  const counted = `${trials.length} ${trials.length === 1 ? "trial" : "trials"}`;
  return (
    <figure class="pareto">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="group" aria-label={`${counted} by fluency and adherence`}>
        {TICKS.map((tick) => (
          <g key={tick} class="tick">
            <line x1={x(0)} x2={x(1)} y1={y(tick)} y2={y(tick)} />
            <text x={LEFT - 8} y={y(tick) + 4} text-anchor="end">
              {Math.round(tick * 100)}
            </text>
            <text x={x(tick)} y={HEIGHT - BOTTOM + 18} text-anchor="middle">
              {Math.round(tick * 100)}
            </text>
          </g>
        ))}
        <text class="axis-name" x={x(0.5)} y={HEIGHT - 4} text-anchor="middle">
          fluency, %
        </text>
        <text class="axis-name" transform={`translate(11 ${y(0.5)}) rotate(-90)`} text-anchor="middle">
          adherence, %
        </text>
        <polyline points={line.map((trial) => `${x(trial.fluency)},${y(trial.adherence)}`).join(" ")} />
        {trials.map((trial) => (
          <circle
            key={trial.number}
            class={[
              onFront.has(trial.number) ? "front" : "",
              trial.number === best?.number ? "best" : "",
              trial.number === chosen?.number ? "chosen" : "",
            ].join(" ")}
            cx={x(trial.fluency)}
            cy={y(trial.adherence)}
            r={onFront.has(trial.number) ? 5.5 : 4}
            tabIndex={0}
            role="button"
            aria-pressed={trial.number === chosen?.number}
            aria-label={`Trial ${trial.number}: ${tipOf(trial)}`}
            data-tip={`Trial ${trial.number}\n${tipOf(trial)}`}
            onClick={() => choose(trial)}
            onKeyDown={(event) => {
              if (event.key !== "Enter" && event.key !== " ") return;
              event.preventDefault();
              choose(trial);
            }}
          />
        ))}
      </svg>
      <figcaption class="meta">
        {counted}.{" "}
        <Term tip="Trials that no other one surpasses in adherence, relevance and fluency together: to gain in one of them, one has to lose in another.">
          Filled ones
        </Term>{" "}
        are not surpassed by any other; the ring is the best. Choose one to see it.
      </figcaption>
    </figure>
  );
}

const tipOf = ({ adherence, relevance, fluency }: AutoSteerTrial) =>
  `adherence ${percent(adherence)}, relevance ${percent(relevance)}, fluency ${percent(fluency)}`;

/** The trials that no other one surpasses in all three. */
function frontOf(trials: AutoSteerTrial[]): AutoSteerTrial[] {
  const whole = trials.filter((trial) => !trial.pruned);
  return whole.filter((one) => !whole.some((other) => surpasses(other, one)));
}

const AIMS = ["adherence", "relevance", "fluency"] as const;

const surpasses = (a: AutoSteerTrial, b: AutoSteerTrial) =>
  AIMS.every((aim) => a[aim] >= b[aim]) && AIMS.some((aim) => a[aim] > b[aim]);
