/** The steering that is being made: sliders, and what a loaded variant holds besides. */

import { computed, effect, signal } from "@preact/signals";

import type { Edit, Feature, FeatureKey, Steering, Variant } from "../api/types";
import { labelOf, name, need, remember } from "./features";
import { saeId } from "./session";
import { toast } from "./toasts";

export type Kind = "nudge" | "pin" | "scale";

export interface Slider {
  key: FeatureKey;
  kind: Kind;
  value: number;
  /** A slider that is off stays in its place and is not sent. */
  on: boolean;
}

export interface KindOf {
  name: string;
  unit: string;
  /** What 1.0 means, for someone new. */
  explains: string;
  low: number;
  high: number;
  step: number;
  /** The value that a feature begins with. */
  start: number;
}

export const KINDS: Record<Kind, KindOf> = {
  nudge: {
    name: "Nudge",
    unit: "strength",
    explains:
      "Adds the feature's direction to the model's stream at every token. 0.3 is subtle, 0.5 a good nudge, " +
      "beyond 0.9 text falls apart. Negative values push away from it.",
    low: -1,
    high: 1,
    step: 0.05,
    start: 0.5,
  },
  pin: {
    name: "Pin",
    unit: "activation",
    explains:
      "Holds the feature's activation at this value. 1.0 is about the largest that it reaches by itself; 0 switches " +
      "the feature off.",
    low: 0,
    high: 3,
    step: 0.05,
    start: 1,
  },
  scale: {
    name: "Scale",
    unit: "times",
    explains:
      "Multiplies the activation where the feature fires by itself. 1 changes nothing, 0 switches it off.",
    low: 0,
    high: 4,
    step: 0.1,
    start: 2,
  },
};

const DRAFT = "hearth-steering";

export const sliders = signal<Slider[]>([]);
/** All of a steering but its unconditional edits: scopes, unit, positions, limits. */
export const rest = signal<Omit<Steering, "edits">>({});
/** The variant that was loaded or saved last. */
export const loaded = signal<Variant | null>(null);

export const steering = computed<Steering>(() => ({
  edits: sliders.value.filter((slider) => slider.on).map(editOf),
  ...rest.value,
}));
export const isSteered = computed(() => !!steering.value.edits?.length || !!steering.value.scopes?.length);
/** Whether the loaded variant was changed since. */
export const isChanged = computed(
  () => loaded.value !== null && canonical(steering.value) !== canonical(loaded.value.steering ?? {}),
);

function editOf({ key, kind, value }: Slider): Edit {
  return { feature: { sae: key.sae || saeId(), index: key.index ?? 0 }, [kind]: value };
}

const sliderOf = (edit: Edit): Slider => {
  const kind: Kind = edit.pin !== undefined ? "pin" : edit.scale !== undefined ? "scale" : "nudge";
  return { key: edit.feature ?? {}, kind, value: round(edit[kind] ?? 0), on: true };
};

/** float32 values come back as 0.30000001192...: three places are more than a slider has. */
const round = (value: number) => Math.round(value * 1000) / 1000;

function canonical(steering: Steering): string {
  const edits = (steering.edits ?? [])
    .map(sliderOf)
    .map((slider) => [name(slider.key), slider.kind, slider.value]);
  const { edits: _, ...others } = steering;
  return JSON.stringify([
    edits,
    Object.entries(others)
      .filter(([, value]) => isSet(value))
      .sort(),
  ]);
}

const isSet = (value: unknown) =>
  value !== undefined && !(Array.isArray(value) && !value.length) && !String(value).endsWith("_UNSPECIFIED");

export const has = (key: FeatureKey) => sliders.value.some((slider) => name(slider.key) === name(key));

export function add(feature: Feature, value = KINDS.nudge.start): void {
  if (!feature.key || has(feature.key)) return;
  remember([feature]);
  void need([feature.key]);
  sliders.value = [...sliders.value, { key: feature.key, kind: "nudge", value, on: true }];
}

export function change(at: number, update: Partial<Slider>): void {
  sliders.value = sliders.value.map((slider, i) => (i === at ? { ...slider, ...update } : slider));
}

export function remove(at: number): void {
  const before = sliders.value;
  const gone = before[at];
  sliders.value = before.filter((_, i) => i !== at);
  if (gone) toast(`Removed “${labelOf(gone.key)}”.`, { label: "Undo", run: () => (sliders.value = before) });
}

export function clear(): void {
  const before = { sliders: sliders.value, rest: rest.value, loaded: loaded.value };
  put({}, null);
  toast("Cleared.", {
    label: "Undo",
    run: () => {
      sliders.value = before.sliders;
      rest.value = before.rest;
      loaded.value = before.loaded;
    },
  });
}

/** Takes a whole steering, from a variant, a link, a file or a job. */
export function put(taken: Steering, variant: Variant | null): void {
  const { edits = [], ...others } = taken;
  sliders.value = edits.map(sliderOf);
  rest.value = others;
  loaded.value = variant;
  void need(sliders.value.map((slider) => slider.key));
}

/** The steering as it is before a reload of the tab. */
export function restore(): void {
  try {
    const draft = JSON.parse(sessionStorage.getItem(DRAFT) ?? "null");
    if (draft) {
      sliders.value = draft.sliders;
      rest.value = draft.rest;
      loaded.value = draft.loaded;
    }
  } catch {
    sessionStorage.removeItem(DRAFT);
  }
  effect(() => {
    const draft = { sliders: sliders.value, rest: rest.value, loaded: loaded.value };
    sessionStorage.setItem(DRAFT, JSON.stringify(draft));
  });
}
