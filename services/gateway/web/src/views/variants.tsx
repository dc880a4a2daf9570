/** Saved steering. */

import { useEffect, useRef } from "preact/hooks";

import type { Variant } from "../api/types";
import { Empty, Loading, Problem } from "../parts/feedback";
import { Icon } from "../parts/icon";
import { ago, count, signed } from "../parts/numbers";
import { copy } from "../state/clipboard";
import { labelOf, need } from "../state/features";
import { recoveries } from "../state/health";
import { go } from "../state/place";
import { loaded } from "../state/steering";
import { linkTo, list, load, problem, remove, upload, variants } from "../state/variants";

export function VariantsView() {
  const file = useRef<HTMLInputElement>(null);
  useEffect(() => void list(), [recoveries.value]);
  useEffect(() => {
    void need(
      (variants.value ?? []).flatMap((each) => each.steering?.edits ?? []).map((edit) => edit.feature ?? {}),
    );
  }, [variants.value]);
  const take = async (input: HTMLInputElement) => {
    const chosen = input.files?.[0];
    if (chosen) await upload(chosen);
    input.value = "";
    if (chosen) go("playground");
  };
  return (
    <div class="view">
      <header class="row between wrap">
        <div>
          <h1>Variants</h1>
          <p class="lead">Steering that is saved under a name, for this key's owner.</p>
        </div>
        <button type="button" onClick={() => file.current?.click()}>
          <Icon name="up" /> Load a JSON file
        </button>
        <input
          ref={file}
          type="file"
          class="hidden"
          accept="application/json,.json"
          tabIndex={-1}
          aria-label="JSON file"
          onChange={(event) => void take(event.currentTarget)}
        />
      </header>
      <Problem text={problem.value} retry={() => void list()} />
      {variants.value === null ? (
        !problem.value && <Loading what="Reading variants" lines={5} />
      ) : variants.value.length === 0 ? (
        <Empty title="No variants yet">
          <p>Make a steering in the playground and press Save.</p>
          <button type="button" onClick={() => go("playground")}>
            To the playground
          </button>
        </Empty>
      ) : (
        <ul class="variants">
          {variants.value.map((variant) => (
            <Row key={variant.id} variant={variant} />
          ))}
        </ul>
      )}
    </div>
  );
}

function Row({ variant }: { variant: Variant }) {
  const { steering, name, description, id } = variant;
  const edits = steering?.edits ?? [];
  const scopes = steering?.scopes?.length ?? 0;
  const told = edits
    .slice(0, 3)
    .map((edit) => `${labelOf(edit.feature ?? {})} ${signed(edit.nudge ?? edit.pin ?? edit.scale ?? 0)}`);
  return (
    <li class="variant">
      <div class="grow">
        <h3>
          {name} {loaded.value?.id === id && <span class="chip still">loaded</span>}
        </h3>
        {description && <p>{description}</p>}
        <p class="meta">
          <span>
            {told.join(", ") || "no edits"}
            {edits.length > 3 && `, ${count(edits.length - 3, "more edit")}`}
          </span>
          {scopes > 0 && <span>{count(scopes, "conditional part")}</span>}
          <span>{ago(variant.updateTime ?? variant.createTime)}</span>
        </p>
      </div>
      <div class="row">
        <button
          type="button"
          class="ghost square"
          aria-label={`Copy the model name of ${name}`}
          data-tip="Copy variant:ID, the model name for OpenAI's SDK"
          onClick={() => void copy(`variant:${id}`, "Copied. Programs use it as the model's name.")}
        >
          <Icon name="copy" />
        </button>
        <button
          type="button"
          class="ghost square"
          aria-label={`Share ${name}`}
          data-tip="Copy a link that holds this steering"
          onClick={() => void copy(linkTo(steering ?? {}), "Link copied. It holds the whole steering.")}
        >
          <Icon name="link" />
        </button>
        <button
          type="button"
          class="ghost square"
          aria-label={`Delete ${name}`}
          data-tip="Delete"
          onClick={() => void remove(variant)}
        >
          <Icon name="trash" />
        </button>
        <button
          type="button"
          aria-label={`Load ${name}`}
          onClick={() => {
            load(variant);
            go("playground");
          }}
        >
          Load
        </button>
      </div>
    </li>
  );
}
