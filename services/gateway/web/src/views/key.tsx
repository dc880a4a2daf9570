/** The key with which the page asks. */

import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";

import { explain } from "../api/failure";
import { Dialog } from "../parts/dialog";
import { Problem } from "../parts/feedback";
import { key, ownKey, refused, tryKey } from "../state/session";

export function KeyDialog({ close }: { close: () => void }) {
  const state = key.value
    ? "A key is in use. It is kept in this tab alone and is gone when the tab is closed."
    : ownKey.value
      ? "This Hearth listens on this machine alone and accepts the key “dev”: none need be given."
      : "No key is in use.";
  return (
    <Dialog title="API key" close={close}>
      <p>{state}</p>
      <Fields done={close} />
    </Dialog>
  );
}

export const KeyForm = () => (
  <div class="view key-form">
    <h1>An API key, please</h1>
    <p class="lead">
      {refused.value ? "The key was refused: it is unknown or was revoked." : "This Hearth asks for a key."}{" "}
      Whoever runs it makes one with <code>hearth keys create</code>.
    </p>
    <Fields done={() => undefined} />
  </div>
);

function Fields({ done }: { done: () => void }) {
  const id = useId();
  const typed = useSignal("");
  const problem = useSignal("");
  const isTrying = useSignal(false);
  const run = async (value: string) => {
    isTrying.value = true;
    problem.value = "";
    try {
      await tryKey(value);
      done();
    } catch (failure) {
      problem.value = explain(failure);
    } finally {
      isTrying.value = false;
    }
  };
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        void run(typed.value);
      }}
    >
      <label for={id}>Key</label>
      <input
        id={id}
        type="password"
        autocomplete="off"
        spellcheck={false}
        required
        autofocus
        value={typed.value}
        onInput={(event) => (typed.value = event.currentTarget.value)}
      />
      <p class="meta">Kept in this tab alone (sessionStorage), and sent to this server only.</p>
      <Problem text={problem.value} />
      <div class="row end">
        {key.value && (
          <button type="button" onClick={() => void run("")}>
            Forget the key
          </button>
        )}
        <button type="submit" class="primary" disabled={isTrying.value || !typed.value.trim()}>
          {isTrying.value ? "Trying…" : "Use this key"}
        </button>
      </div>
    </form>
  );
}
