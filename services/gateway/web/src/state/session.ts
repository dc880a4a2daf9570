/** Who calls, what is served, and the model and SAE in use. */

import { computed, effect, signal } from "@preact/signals";

import { api, call, hooks } from "../api/client";
import { explain, Failure } from "../api/failure";
import type { Model } from "../api/types";
import { outage, suspect } from "./health";

const STORED = "hearth-key";
const AGAIN_MS = 2_000;

/** Kept for this tab alone. */
export const key = signal(sessionStorage.getItem(STORED) ?? "");
/** The key that the gateway itself names, where it listens on this machine alone; undefined before it was asked. */
export const ownKey = signal<string | null | undefined>(undefined);
/** Whether a call was refused for its key. */
export const refused = signal(false);
export const models = signal<Model[] | null>(null);
const chosen = signal("");

export const model = computed(
  () => models.value?.find((each) => each.id === chosen.value) ?? models.value?.[0],
);
export const sae = computed(() => model.value?.saes?.[0]);
export const modelId = () => model.value?.id ?? "";
export const saeId = () => sae.value?.id ?? "";
export const chooseModel = (id: string) => (chosen.value = id);

/** Whether someone has to type a key before anything works. */
export const keyNeeded = computed(() => refused.value || (!key.value && ownKey.value === null));

hooks.key = () => key.value || ownKey.value || "";
hooks.failed = (failure) => {
  if (failure.status === 401) refused.value = true;
  if (failure.passing) suspect();
};

effect(() => {
  if (key.value) sessionStorage.setItem(STORED, key.value);
  else sessionStorage.removeItem(STORED);
});

/** Why the page could not be opened, where it is neither the key nor a service that comes back. */
export const problem = signal("");

/** Asks who we are and what is served; tells whether all is known now. Goes on trying where something is out of order. */
export async function open(): Promise<boolean> {
  try {
    await identify();
    return models.value !== null;
  } catch (failure) {
    if (failure instanceof Failure && failure.passing)
      setTimeout(() => outage.value ?? void open(), AGAIN_MS);
    else if (!refused.value) problem.value = explain(failure);
    return false;
  }
}

async function identify(): Promise<void> {
  problem.value = "";
  if (ownKey.value === undefined) ownKey.value = (await call(api.GET("/hearth/v1/session"))).key;
  if (!hooks.key()) return;
  models.value = (await call(api.GET("/hearth/v1/models"))).models;
  refused.value = false;
}

/** Tries a key and keeps it if it works. */
export async function tryKey(typed: string): Promise<void> {
  const before = key.value;
  key.value = typed.trim();
  try {
    await identify();
  } catch (failure) {
    key.value = before;
    throw failure;
  }
}
