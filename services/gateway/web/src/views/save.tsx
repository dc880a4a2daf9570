/** Saves a steering as a variant. */

import { signal, useSignal } from "@preact/signals";
import { useId } from "preact/hooks";

import { explain } from "../api/failure";
import { Dialog } from "../parts/dialog";
import { Problem } from "../parts/feedback";
import { isChanged, loaded } from "../state/steering";
import { overwrite, save } from "../state/variants";

const isSaving = signal(false);

export function SaveDialog({ close }: { close: () => void }) {
  const id = useId();
  const name = useSignal("");
  const description = useSignal("");
  const problem = useSignal("");

  const run = async (task: () => Promise<void>) => {
    isSaving.value = true;
    problem.value = "";
    try {
      await task();
      close();
    } catch (failure) {
      problem.value = explain(failure);
    } finally {
      isSaving.value = false;
    }
  };
  const variant = loaded.value;
  return (
    <Dialog title="Save as a variant" close={close}>
      <p class="meta">
        A variant is steering under a name. Programs use it as model <code>variant:ID</code>.
      </p>
      {variant && isChanged.value && (
        <button type="button" disabled={isSaving.value} onClick={() => void run(() => overwrite(variant))}>
          Save over “{variant.name}”
        </button>
      )}
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void run(() => save(name.value.trim(), description.value.trim()));
        }}
      >
        <label for={`${id}-name`}>Name</label>
        <input
          id={`${id}-name`}
          required
          maxLength={200}
          autofocus
          value={name.value}
          onInput={(event) => (name.value = event.currentTarget.value)}
        />
        <label for={`${id}-text`}>
          Description <span class="meta">optional</span>
        </label>
        <textarea
          id={`${id}-text`}
          rows={2}
          maxLength={2000}
          value={description.value}
          onInput={(event) => (description.value = event.currentTarget.value)}
        />
        <Problem text={problem.value} />
        <div class="row end">
          <button type="button" onClick={close}>
            Cancel
          </button>
          <button type="submit" class="primary" disabled={isSaving.value || !name.value.trim()}>
            {isSaving.value ? "Saving…" : "Save"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}
