/** Lets people say what a feature is really about. */

import { useSignal } from "@preact/signals";
import { useId } from "preact/hooks";

import { api, call } from "../../api/client";
import { explain, Failure } from "../../api/failure";
import type { Feature } from "../../api/types";
import { Problem } from "../../parts/feedback";
import { readLabel } from "../../state/features";
import { toast } from "../../state/toasts";

export function Contest({ feature, reload }: { feature: Feature; reload: () => Promise<void> }) {
  const id = useId();
  const label = useSignal(readLabel(feature.label).text);
  const note = useSignal("");
  const problem = useSignal("");
  const isSaving = useSignal(false);

  const save = async () => {
    isSaving.value = true;
    problem.value = "";
    try {
      const { key, etag } = feature;
      const body = {
        feature: { key, label: label.value.trim() },
        updateMask: "label",
        etag,
        note: note.value.trim(),
        requestId: crypto.randomUUID(),
      };
      await call(api.PATCH("/hearth/v1/features", { body }));
      toast("The label was changed. The old one stays in its history.");
      await reload();
    } catch (failure) {
      const isLate = failure instanceof Failure && failure.reason === "ETAG_MISMATCH";
      problem.value = isLate
        ? "Someone else changed this label meanwhile: look at it again."
        : explain(failure);
      if (isLate) await reload();
    } finally {
      isSaving.value = false;
    }
  };
  return (
    <details class="contest">
      <summary>Contest the label</summary>
      <form
        class="stack"
        onSubmit={(event) => {
          event.preventDefault();
          void save();
        }}
      >
        <label for={`${id}-label`}>What it is about</label>
        <input
          id={`${id}-label`}
          required
          maxLength={80}
          value={label.value}
          onInput={(event) => (label.value = event.currentTarget.value)}
        />
        <label for={`${id}-note`}>
          Why <span class="meta">for its history, optional</span>
        </label>
        <input
          id={`${id}-note`}
          maxLength={2000}
          value={note.value}
          onInput={(event) => (note.value = event.currentTarget.value)}
        />
        <Problem text={problem.value} />
        <button
          type="submit"
          disabled={isSaving.value || !label.value.trim() || label.value.trim() === feature.label}
        >
          {isSaving.value ? "Saving…" : "Save label"}
        </button>
      </form>
    </details>
  );
}
