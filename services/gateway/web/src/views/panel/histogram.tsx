/** How strongly a feature fires, over all tokens at which it does. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { Feature } from "../../api/types";
import { fixed, whole } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import { histogramEdges } from "../../state/features";

const WIDTH = 320;
const HEIGHT = 72;

export function Histogram({ feature }: { feature: Feature }) {
  const edges = useSignal<number[]>([]);
  useEffect(() => {
    histogramEdges(feature.key?.sae ?? "").then(
      (found) => (edges.value = found),
      () => undefined,
    );
  }, []);
  const counts = feature.histogram;
  const total = counts.reduce((sum, each) => sum + each, 0);
  if (!total) return null;
  // Counts span decades: their logarithm shows the tail in which a feature's meaning lies.
  const most = Math.log1p(Math.max(...counts));
  const width = WIDTH / counts.length;
  const [low, high] = [edges.value[0] ?? 0, edges.value.at(-1)];
  return (
    <section>
      <h3>
        <Term tip="How often the feature fires how strongly. Heights are logarithmic. 1.0 is the activation that it usually reaches at most.">
          Activations
        </Term>
      </h3>
      <svg
        class="histogram"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`Histogram of ${whole(total)} activations`}
      >
        {counts.map((count, i) => {
          const height = (Math.log1p(count) / most) * HEIGHT;
          return (
            <rect
              key={i}
              x={i * width + 0.5}
              y={HEIGHT - height}
              width={width - 1}
              height={height}
              data-tip={binTip(edges.value, i, count)}
            />
          );
        })}
      </svg>
      <p class="axis meta">
        <span>{fixed(low, 1)}</span>
        <span>{whole(total)} activations</span>
        <span>
          {high === undefined ? "" : Number.isFinite(Number(high)) ? fixed(Number(high), 1) : "and more"}
        </span>
      </p>
    </section>
  );
}

function binTip(edges: number[], i: number, count: number): string {
  const [from, to] = [edges[i], edges[i + 1]];
  const range = from === undefined || to === undefined ? "" : `${fixed(from)} to ${fixed(Number(to))}: `;
  return `${range}${whole(count)} tokens`;
}
