/** What is known of one thing, beside the view. */

import { useEffect, useRef } from "preact/hooks";

import { Icon } from "../../parts/icon";
import { name } from "../../state/features";
import { back, closePanel, panels } from "../../state/place";
import { FeatureCard } from "./feature";
import { TokenCard } from "./token";

export function Panel() {
  const element = useRef<HTMLElement>(null);
  const panel = panels.value.at(-1);
  useEffect(() => {
    element.current?.focus();
    element.current?.scrollTo(0, 0);
  }, [panel]);
  if (!panel) return null;
  return (
    <aside
      ref={element}
      class="panel"
      tabIndex={-1}
      aria-label={panel.kind === "feature" ? "Feature" : "Token"}
      onKeyDown={(event) => event.key === "Escape" && closePanel()}
    >
      <div class="row between panel-bar">
        {panels.value.length > 1 ? (
          <button type="button" class="ghost" onClick={back}>
            <Icon name="back" /> Back
          </button>
        ) : (
          <span class="meta">{panel.kind === "feature" ? "Feature" : "Token"}</span>
        )}
        <button type="button" class="ghost square" aria-label="Close" onClick={closePanel}>
          <Icon name="close" />
        </button>
      </div>
      {panel.kind === "feature" ? (
        <FeatureCard key={name(panel.key)} feature={panel.key} />
      ) : (
        <TokenCard key={`${panel.answer.id}-${panel.at}`} answer={panel.answer} at={panel.at} />
      )}
    </aside>
  );
}
