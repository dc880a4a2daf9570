/** What one can do with a steering: save it, share it, take it along. */

import { signal } from "@preact/signals";

import { Icon } from "../../parts/icon";
import { copy } from "../../state/clipboard";
import { isSteered, steering } from "../../state/steering";
import { download, linkTo } from "../../state/variants";
import { PythonDialog } from "../python";
import { SaveDialog } from "../save";

const opened = signal<"" | "save" | "python">("");
const close = () => (opened.value = "");

export function Keep() {
  const nothing = !isSteered.value;
  return (
    <>
      <div class="keep" role="group" aria-label="Keep this steering">
        <button type="button" disabled={nothing} onClick={() => (opened.value = "save")}>
          <Icon name="save" /> Save
        </button>
        <button
          type="button"
          disabled={nothing}
          onClick={share}
          data-tip="Copy a link that holds this steering"
        >
          <Icon name="link" /> Share
        </button>
        <button
          type="button"
          disabled={nothing}
          onClick={download}
          data-tip="Download this steering as a JSON file"
        >
          <Icon name="down" /> JSON
        </button>
        <button
          type="button"
          onClick={() => (opened.value = "python")}
          data-tip="The Python that does the same"
        >
          <Icon name="code" /> Python
        </button>
      </div>
      {opened.value === "save" && <SaveDialog close={close} />}
      {opened.value === "python" && <PythonDialog close={close} />}
    </>
  );
}

const share = () =>
  void copy(linkTo(steering.value), "Link copied. It holds the whole steering; nothing is stored.");
