/** The Python that does the same as the page. */

import { useSignal } from "@preact/signals";

import { Dialog } from "../parts/dialog";
import { Icon } from "../parts/icon";
import { copy } from "../state/clipboard";
import { type Client, CLIENTS, pythonFor } from "../state/python";

export function PythonDialog({ close }: { close: () => void }) {
  const client = useSignal<Client>("ember");
  const code = pythonFor(client.value);
  return (
    <Dialog title="The same in Python" close={close}>
      <div class="row between wrap">
        <div class="segments" role="radiogroup" aria-label="Client">
          {Object.entries(CLIENTS).map(([each, label]) => (
            <label key={each}>
              <input
                type="radio"
                name="client"
                checked={client.value === each}
                onChange={() => (client.value = each as Client)}
              />
              <span>{label}</span>
            </label>
          ))}
        </div>
        <button type="button" onClick={() => void copy(code, "Copied.")}>
          <Icon name="copy" /> Copy
        </button>
      </div>
      <pre class="code" tabIndex={0} aria-label="Python code">
        {code}
      </pre>
    </Dialog>
  );
}
