/** Where a feature is active. */

import { useSignal } from "@preact/signals";

import type { Example, Feature } from "../../api/types";
import { fixed, percent } from "../../parts/numbers";
import { Term } from "../../parts/tip";

const FIRST = 4;

export function Examples({ feature }: { feature: Feature }) {
  const isAll = useSignal(false);
  if (!feature.examples.length) return null;
  const shown = isAll.value ? feature.examples : feature.examples.slice(0, FIRST);
  return (
    <section>
      <h3>
        <Term tip="Stretches of text in which the feature fires: first the strongest, then some drawn from all strengths, so that the label can be checked where it matters.">
          Where it fires
        </Term>
      </h3>
      <ul class="examples">
        {shown.map((example, i) => (
          <li key={i}>
            <Text example={example} scale={feature.scale || 1} />
            <span class="meta">{kindOf(example)}</span>
          </li>
        ))}
      </ul>
      {feature.examples.length > FIRST && (
        <button type="button" class="link" onClick={() => (isAll.value = !isAll.value)}>
          {isAll.value ? "Fewer" : `All ${feature.examples.length} examples`}
        </button>
      )}
    </section>
  );
}

function Text({ example, scale }: { example: Example; scale: number }) {
  return (
    <p class="text">
      {example.tokens.map((token, at) => {
        const value = (example.activations[at] ?? 0) / scale;
        const text = token.replaceAll("\n", " ↵ "); // lines would take much room
        if (value <= 0) return text;
        return (
          <span
            key={at}
            class={`token warm${at === example.peak ? " peak" : ""}`}
            style={{ "--heat": String(Math.min(value, 1)) }}
            data-tip={`activation ${fixed(value)} (${fixed(value * scale)} raw)`}
          >
            {text}
          </span>
        );
      })}
    </p>
  );
}

const ROLES: Record<string, string> = {
  ROLE_USER: "user's turn",
  ROLE_ASSISTANT: "assistant's turn",
  ROLE_SYSTEM: "system prompt",
};

function kindOf(example: Example): string {
  const strength =
    example.kind === "EXAMPLE_KIND_TOP"
      ? "among the strongest"
      : `stronger than ${percent(example.quantile)} of its activations`;
  const role = ROLES[example.role];
  return role ? `${strength} · ${role}` : strength;
}
