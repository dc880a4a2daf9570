/** The conversation, plain and steered. */

import { useEffect, useRef } from "preact/hooks";

import { Empty } from "../../parts/feedback";
import { Icon } from "../../parts/icon";
import { ask, forget, isRunning, retry, type Turn, turns } from "../../state/chat";
import { isSteered, sliders } from "../../state/steering";
import { AnswerCard } from "./answer";
import { Composer } from "./composer";
import { Legend } from "./legend";

const QUESTIONS = ["What did you do this weekend?", "Tell me a short story.", "How do I make new friends?"];

export function Chat() {
  const end = useRef<HTMLDivElement>(null);
  const length = turns.value.length;
  useEffect(() => {
    if (length) end.current?.scrollIntoView({ block: "end" });
  }, [length]);
  return (
    <section class="chat" aria-label="Chat">
      <div class="chat-bar row between">
        <Legend />
        {length > 0 && (
          <button type="button" class="ghost" onClick={forget}>
            <Icon name="trash" /> New chat
          </button>
        )}
      </div>
      <div class="turns">
        {length === 0 ? <Welcome /> : turns.value.map((turn) => <TurnRow key={turn.id} turn={turn} />)}
        <div ref={end} />
      </div>
      <Composer />
    </section>
  );
}

const Welcome = () => (
  <Empty title={isSteered.value ? "Ask something, and compare" : "One question, two answers"}>
    <p>
      {isSteered.value
        ? "Each question is answered by the plain model and by the steered one, with the same seed, so that all that differs comes from the steering."
        : sliders.value.length
          ? "All sliders are off: only the plain model answers."
          : "Add a feature and every question is answered twice: plain, and steered by it. Without one, only the plain model answers."}
    </p>
    <div class="row wrap center">
      {QUESTIONS.map((question) => (
        <button type="button" class="chip" key={question} onClick={() => void ask(question)}>
          {question}
        </button>
      ))}
    </div>
  </Empty>
);

function TurnRow({ turn }: { turn: Turn }) {
  const broken = turn.answers.some(
    ({ value }) => value.progress === "failed" || value.progress === "stopped",
  );
  return (
    <article class="turn">
      <h3 class="question">
        <span class="hidden">You asked: </span>
        {turn.question}
      </h3>
      <div class={`answers of-${turn.answers.length}`}>
        {turn.answers.map((answer) => (
          <AnswerCard key={answer.value.id} answer={answer} />
        ))}
      </div>
      {broken && !isRunning.value && (
        <button type="button" class="again" onClick={() => void retry(turn)}>
          Try again
        </button>
      )}
    </article>
  );
}
