/** Search for features by what they mean. */

import { signal } from "@preact/signals";
import { useEffect, useId, useRef } from "preact/hooks";

import { api, call } from "../../api/client";
import { explain, isAbort } from "../../api/failure";
import type { FeatureHit } from "../../api/types";
import { Loading, Problem } from "../../parts/feedback";
import { FeatureRow } from "../../parts/feature";
import { Icon } from "../../parts/icon";
import { fixed, percent, signed } from "../../parts/numbers";
import { Term } from "../../parts/tip";
import { remember } from "../../state/features";
import { saeId } from "../../state/session";

const PAUSE_MS = 250;
/** Of output scores, in nats: about a quarter of the embedded SAE's features reach it. */
const STRONG = 1.5;
const TRY = ["the sea", "music", "outer space", "religion"];

const query = signal("");
const strongOnly = signal(false);
const hits = signal<FeatureHit[] | null>(null);
const problem = signal("");
const isSearching = signal(false);
let searching: AbortController | null = null;

async function search(): Promise<void> {
  searching?.abort();
  const text = query.value.trim();
  problem.value = "";
  if (!text) {
    hits.value = null;
    isSearching.value = false;
    return;
  }
  const mine = (searching = new AbortController());
  isSearching.value = true;
  try {
    const filter = strongOnly.value ? { minOutputScore: STRONG } : {};
    const body = { query: text, sae: saeId(), topK: 12, filter };
    const found = (await call(api.POST("/hearth/v1/features/search", { body, signal: mine.signal }))).hits;
    remember(found.flatMap((hit) => hit.feature ?? []));
    hits.value = found;
  } catch (failure) {
    if (isAbort(failure)) return;
    problem.value = explain(failure);
  }
  isSearching.value = false;
}

export function Search() {
  const id = useId();
  const timer = useRef(0);
  const first = useRef(true);
  useEffect(() => {
    if (first.current && hits.value) return void (first.current = false);
    first.current = false;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(search, PAUSE_MS);
  }, [query.value, strongOnly.value]);

  const clear = () => (query.value = "");
  return (
    <section class="search" aria-label="Find features">
      <form
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          clearTimeout(timer.current);
          void search();
        }}
      >
        <label for={id} class="hidden">
          Find features by meaning
        </label>
        <div class="field-with-icon">
          <Icon name="search" />
          <input
            id={id}
            type="search"
            placeholder="Find features by meaning…"
            autocomplete="off"
            value={query.value}
            onInput={(event) => (query.value = event.currentTarget.value)}
          />
        </div>
      </form>
      {query.value.trim() === "" ? (
        <p class="meta suggestions">
          Try{" "}
          {TRY.map((each) => (
            <button type="button" class="chip" key={each} onClick={() => (query.value = each)}>
              {each}
            </button>
          ))}
        </p>
      ) : (
        <>
          <div class="row between meta">
            <label class="check">
              <input
                type="checkbox"
                checked={strongOnly.value}
                onChange={(event) => (strongOnly.value = event.currentTarget.checked)}
              />
              <Term tip="Only features of which a nudge clearly raises the tokens that they promote: an output score of 1.5 nats or more.">
                Only strong ones
              </Term>
            </label>
            <button type="button" class="link" onClick={clear}>
              Close
            </button>
          </div>
          <Problem text={problem.value} retry={() => void search()} />
          <Hits />
        </>
      )}
    </section>
  );
}

function Hits() {
  if (hits.value === null) return isSearching.value ? <Loading what="Searching" lines={5} /> : null;
  if (hits.value.length === 0) {
    return (
      <p class="meta" role="status">
        No feature was found. Try other words{strongOnly.value ? ", or drop the filter" : ""}.
      </p>
    );
  }
  return (
    <ul
      class={`features${isSearching.value ? " stale" : ""}`}
      aria-label="Features found"
      aria-busy={isSearching.value}
    >
      {hits.value.map(({ feature }) =>
        feature?.key ? (
          <FeatureRow key={feature.id} feature={feature.key} meta={<Facts feature={feature} />} />
        ) : null,
      )}
    </ul>
  );
}

const Facts = ({ feature }: { feature: NonNullable<FeatureHit["feature"]> }) => (
  <>
    {feature.labelScore !== undefined && (
      <span data-tip="Label score: how well the label alone tells texts in which the feature fires from others. 0.5 is chance, 1 perfect.">
        label {fixed(feature.labelScore)}
      </span>
    )}
    {feature.outputScore !== undefined && (
      <span data-tip="Output score: nats by which a nudge of strength 0.5 raises the tokens that the feature promotes above all others. Higher moves the text more.">
        output {signed(feature.outputScore, 1)}
      </span>
    )}
    <span data-tip="Density: share of all tokens on which the feature fires.">
      {percent(feature.density)}
    </span>
  </>
);
