/** The page around the views: where one is, who asks, and what does not answer. */

import { effect, signal } from "@preact/signals";
import { useId } from "preact/hooks";

import { Empty, Loading, Problem, Toasts } from "../parts/feedback";
import { Icon } from "../parts/icon";
import { Outage } from "../parts/outage";
import { Tips } from "../parts/tip";
import { outage } from "../state/health";
import { panels, type View, view, VIEWS } from "../state/place";
import { chooseModel, keyNeeded, model, models, open, problem, sae } from "../state/session";
import { AutoSteerView } from "./autosteer/view";
import { ContrastView } from "./contrast";
import { KeyDialog, KeyForm } from "./key";
import { Panel } from "./panel/panel";
import { Playground } from "./playground/playground";
import { VariantsView } from "./variants";

const VIEW_PARTS: Record<View, () => preact.JSX.Element> = {
  playground: Playground,
  contrast: ContrastView,
  "auto-steer": AutoSteerView,
  variants: VariantsView,
};

const isKeyOpen = signal(false);

effect(() => {
  document.title = view.value === "playground" ? "Hearth" : `${VIEWS[view.value]} · Hearth`;
});

export function Shell() {
  const Current = VIEW_PARTS[view.value];
  return (
    <div class={`shell${panels.value.length ? " with-panel" : ""}`}>
      <a class="skip" href="#content" onClick={skip}>
        Skip to the content
      </a>
      <Head />
      <Outage />
      <main id="content" tabIndex={-1}>
        {keyNeeded.value ? <KeyForm /> : models.value === null ? <Opening /> : <Current />}
      </main>
      <Panel />
      <Toasts />
      <Tips />
      {isKeyOpen.value && <KeyDialog close={() => (isKeyOpen.value = false)} />}
    </div>
  );
}

/** The fragment names the view, so that the link moves the focus itself. */
function skip(event: Event): void {
  event.preventDefault();
  document.getElementById("content")?.focus();
}

const Opening = () => (
  <div class="view">
    <Problem text={problem.value} retry={() => void open()} />
    {outage.value && <Empty title="Waiting for Hearth" />}
    {!problem.value && <Loading what="Opening" lines={6} />}
  </div>
);

function Head() {
  return (
    <header class="head">
      <a class="brand" href="#/playground">
        <img src="/hearth.svg" alt="" width="22" height="22" />
        Hearth
      </a>
      <nav aria-label="Views">
        {Object.entries(VIEWS).map(([each, name]) => (
          <a key={each} href={`#/${each}`} aria-current={view.value === each ? "page" : undefined}>
            {name}
          </a>
        ))}
      </nav>
      <div class="row end">
        <Served />
        <button
          type="button"
          class="ghost square"
          aria-label="API key"
          data-tip="API key"
          onClick={() => (isKeyOpen.value = true)}
        >
          <Icon name="key" />
        </button>
        <Theme />
      </div>
    </header>
  );
}

function Served() {
  const id = useId();
  const all = models.value ?? [];
  if (!model.value) return null;
  const tip = `${model.value.id}\nSAE ${sae.value?.id ?? "none"}, ${sae.value?.featureCount.toLocaleString("en") ?? 0} features at ${sae.value?.hookPoint ?? "no hook point"}`;
  if (all.length < 2) {
    return (
      <span class="served meta" tabIndex={0} data-tip={tip} aria-description={tip}>
        {model.value.id.split("/").at(-1)}
      </span>
    );
  }
  return (
    <>
      <label class="hidden" for={id}>
        Model
      </label>
      <select
        id={id}
        class="served"
        value={model.value.id}
        onChange={(event) => chooseModel(event.currentTarget.value)}
      >
        {all.map((each) => (
          <option key={each.id}>{each.id}</option>
        ))}
      </select>
    </>
  );
}

const THEMES = { auto: "as the system", light: "light", dark: "dark" } as const;
type ThemeName = keyof typeof THEMES;
const STORED = "hearth-theme";
const stored = localStorage.getItem(STORED) ?? "";
const theme = signal<ThemeName>(stored in THEMES ? (stored as ThemeName) : "auto");

effect(() => {
  document.documentElement.dataset.theme = theme.value;
  localStorage.setItem(STORED, theme.value);
});

function Theme() {
  const names = Object.keys(THEMES) as ThemeName[];
  const next = names[(names.indexOf(theme.value) + 1) % names.length]!;
  const label = `Colours: ${THEMES[theme.value]}. Switch to ${THEMES[next]}`;
  return (
    <button
      type="button"
      class="ghost square"
      aria-label={label}
      data-tip={label}
      onClick={() => (theme.value = next)}
    >
      <Icon name={({ auto: "auto", light: "sun", dark: "moon" } as const)[theme.value]} />
    </button>
  );
}
