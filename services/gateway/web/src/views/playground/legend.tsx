/** Says what the colours of tokens mean, and lets one choose. */

import { FeatureName } from "../../parts/feature";
import { Icon } from "../../parts/icon";
import { fixed } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import { turns } from "../../state/chat";
import { featureOf } from "../../state/features";
import { colour, colourBy } from "../../state/reading";

export function Legend() {
  const key = colour.value;
  if (!key) {
    return turns.value.length ? (
      <p class="legend meta">
        <Icon name="drop" /> Colour tokens by a feature with its drop; click a token to see what it is made
        of.
      </p>
    ) : (
      <span />
    );
  }
  const scale = featureOf(key)?.scale;
  return (
    <div class="legend meta" role="group" aria-label="Colours of tokens">
      <span class="ramp" aria-hidden="true" />
      <span class="clip">
        <Term
          tip={`How strongly the feature fires at a token: pale is 0, full is 1.0, the largest it usually reaches${scale ? ` (${fixed(scale)} raw)` : ""}. In steered answers the edited stream is read; edits that act on the answer only do not show.`}
        >
          Coloured by
        </Term>{" "}
        <FeatureName feature={key} />
      </span>
      <button type="button" class="ghost square" aria-label="Stop colouring" onClick={() => colourBy(null)}>
        <Icon name="close" />
      </button>
    </div>
  );
}
