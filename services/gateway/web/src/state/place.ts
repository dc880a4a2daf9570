/** Where in the page one is: the view, and what the panel at the side shows. */

import { signal } from "@preact/signals";

import type { FeatureKey } from "../api/types";
import type { Answer } from "./chat";

export const VIEWS = {
  playground: "Playground",
  contrast: "Contrast",
  "auto-steer": "Auto-steer",
  variants: "Variants",
} as const;

export type View = keyof typeof VIEWS;

export type Panel = { kind: "feature"; key: FeatureKey } | { kind: "token"; answer: Answer; at: number };

export const view = signal<View>(viewOf(location.hash));
export const panels = signal<Panel[]>([]);

addEventListener("hashchange", () => (view.value = viewOf(location.hash)));

function viewOf(hash: string): View {
  const asked = hash.replace(/^#\//, "");
  return asked in VIEWS ? (asked as View) : "playground";
}

export const go = (to: View) => (location.hash = `#/${to}`);

/** What had the focus before the panel opened. */
let opener: HTMLElement | null = null;

/** Shows something beside the view. From inside the panel, one can come back to what was there. */
export function show(panel: Panel): void {
  const active = document.activeElement as HTMLElement | null;
  const inside = !!active?.closest(".panel");
  if (!inside) opener = active;
  panels.value = inside ? [...panels.value, panel] : [panel];
}

export const back = () => (panels.value = panels.value.slice(0, -1));

export function closePanel(): void {
  panels.value = [];
  opener?.focus();
}
