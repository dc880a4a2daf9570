/** The tokens of an answer, coloured by a feature; each opens what is known of it. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { fixed, percent } from "../../parts/numbers";
import type { Answer } from "../../state/chat";
import { featureOf } from "../../state/features";
import { panels, show } from "../../state/place";
import { activationsOf, colour } from "../../state/reading";

export function Tokens({ answer }: { answer: Answer }) {
  const box = useRef<HTMLParagraphElement>(null);
  const reached = useSignal(0);
  const activations = useActivations(answer);
  const isWhole = answer.progress === "done" || answer.progress === "stopped";
  const shown = panels.value.at(-1);
  const selected = shown?.kind === "token" && shown.answer.id === answer.id ? shown.at : -1;

  if (!answer.pieces.length)
    return answer.progress === "waiting" ? <p class="text waiting" aria-hidden="true" /> : <p class="text" />;
  if (!isWhole) {
    return (
      <p class="text">
        {answer.pieces.map((piece) => piece.text).join("")}
        <span class="caret" aria-hidden="true" />
      </p>
    );
  }
  const open = (at: number) => {
    reached.value = at;
    show({ kind: "token", answer, at });
  };
  const move = (event: KeyboardEvent) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      open(reached.value);
    }
    const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    reached.value = Math.min(Math.max(reached.value + step, 0), answer.pieces.length - 1);
    box.current?.querySelectorAll<HTMLElement>(".token")[reached.value]?.focus();
  };
  const scale = featureOf(colour.value ?? {})?.scale || 1;
  return (
    <p ref={box} class="text" role="group" aria-label="Tokens; arrow keys move, Enter opens" onKeyDown={move}>
      {answer.pieces.map((piece, at) => {
        const value = (activations.value?.[at] ?? 0) / scale;
        return (
          // Not a <button>: those do not wrap as text does.
          <span
            role="button"
            key={at}
            class={`token${value > 0 ? " warm" : ""}${selected === at ? " selected" : ""}`}
            style={{ "--heat": String(Math.min(value, 1)) }}
            tabIndex={at === Math.min(reached.value, answer.pieces.length - 1) ? 0 : -1}
            data-tip={tipOf(piece.probability, activations.value ? value : undefined)}
            onClick={() => open(at)}
          >
            {piece.text}
          </span>
        );
      })}
    </p>
  );
}

function tipOf(probability: number | undefined, value: number | undefined): string {
  const parts = [
    value === undefined ? "" : `activation ${fixed(value)}`,
    probability === undefined ? "" : `probability ${percent(probability)}`,
  ];
  return `${parts.filter(Boolean).join(" · ")}\nClick for its features and what raised it`;
}

/** The raw activation of the colouring feature at each token; null until they are known. */
function useActivations(answer: Answer) {
  const values = useSignal<number[] | null>(null);
  const key = colour.value;
  const isReady = answer.pieces.length > 0 && (answer.progress === "done" || answer.progress === "stopped");
  useEffect(() => {
    values.value = null;
    if (!key || !isReady) return;
    let isWanted = true;
    activationsOf(answer, key).then(
      (found) => isWanted && (values.value = found),
      () => undefined, // the tokens stay uncoloured; whatever is out of order is told elsewhere
    );
    return () => void (isWanted = false);
  }, [key, isReady, answer.pieces.length]);
  return values;
}
