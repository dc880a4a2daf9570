import type { AutoSteerSample } from "../../api/types";
import { percent } from "../../parts/numbers";

/** Texts and their scores. */
export const Samples = ({ samples }: { samples: AutoSteerSample[] }) =>
  samples.length ? (
    <details>
      <summary>{samples.length === 1 ? "A text" : `${samples.length} texts`}</summary>
      <ul class="samples">
        {samples.map(({ prompt, text, score }, i) => (
          <li key={i}>
            <p class="meta">{prompt}</p>
            <p>{text}</p>
            <p class="meta">score {percent(score)}</p>
          </li>
        ))}
      </ul>
    </details>
  ) : null;
