/** Saved steering: named variants, links and files. */

import { signal } from "@preact/signals";

import { api, call } from "../api/client";
import { explain } from "../api/failure";
import type { Steering, Variant } from "../api/types";
import { modelId } from "./session";
import { loaded, put, steering } from "./steering";
import { toast } from "./toasts";

export const variants = signal<Variant[] | null>(null);
export const problem = signal("");

export async function list(): Promise<void> {
  problem.value = "";
  try {
    const query = { pageSize: 200 };
    variants.value = (await call(api.GET("/hearth/v1/variants", { params: { query } }))).variants;
  } catch (failure) {
    problem.value = explain(failure);
  }
}

export async function save(name: string, description: string): Promise<void> {
  const variant = { name, description, model: modelId(), steering: steering.value };
  const body = { variant, requestId: crypto.randomUUID() };
  const saved = (await call(api.POST("/hearth/v1/variants", { body }))).variant!;
  loaded.value = saved;
  toast(`Saved “${saved.name}”.`);
  void list();
}

/** Writes the steering over the loaded variant. */
export async function overwrite(variant: Variant): Promise<void> {
  const body = { variant: { steering: steering.value }, updateMask: "steering", etag: variant.etag };
  const params = { path: { id: variant.id } };
  loaded.value = (await call(api.PATCH("/hearth/v1/variants/{id}", { params, body }))).variant!;
  toast(`Saved “${variant.name}”.`);
  void list();
}

export function load(variant: Variant): void {
  put(variant.steering ?? {}, variant);
  toast(`Loaded “${variant.name}”.`);
}

export async function remove(variant: Variant): Promise<void> {
  const params = { path: { id: variant.id } };
  try {
    await call(api.DELETE("/hearth/v1/variants/{id}", { params }));
    toast(`Deleted “${variant.name}”.`, { label: "Undo", run: () => void undelete(variant) });
  } catch (failure) {
    toast(explain(failure));
  }
  await list();
}

async function undelete(variant: Variant): Promise<void> {
  const params = { path: { id: variant.id } };
  try {
    await call(api.POST("/hearth/v1/variants/{id}/undelete", { params }));
  } catch (failure) {
    toast(explain(failure));
  }
  await list();
}

const LINK = "#steer=";

/** A link that holds the steering behind its #, which browsers never send to a server. */
export function linkTo(shared: Steering): string {
  const bytes = new TextEncoder().encode(JSON.stringify(shared));
  const text = btoa(String.fromCharCode(...bytes));
  const safe = text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
  return `${location.origin}${location.pathname}${LINK}${safe}`;
}

/** Takes the steering of a link that the page was opened with. */
export function takeLink(): void {
  if (!location.hash.startsWith(LINK)) return;
  const text = location.hash.slice(LINK.length).replaceAll("-", "+").replaceAll("_", "/");
  history.replaceState(null, "", "#/playground");
  try {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    put(checked(JSON.parse(new TextDecoder().decode(bytes))), null);
    toast("Loaded the steering of the link.");
  } catch {
    toast("The link holds no steering that can be read.");
  }
}

export function download(): void {
  const file = { name: loaded.value?.name ?? "", model: modelId(), steering: steering.value };
  const url = URL.createObjectURL(new Blob([JSON.stringify(file, null, 2)], { type: "application/json" }));
  const anchor = document.createElement("a");
  anchor.href = url;
  anchor.download = `${(file.name || "steering").replace(/[^\w-]+/g, "-")}.json`;
  anchor.click();
  URL.revokeObjectURL(url);
}

export async function upload(file: File): Promise<void> {
  try {
    const read = JSON.parse(await file.text());
    put(checked(read.steering ?? read), null);
    toast(`Loaded ${file.name}.`);
  } catch {
    toast(`${file.name} holds no steering that can be read.`);
  }
}

/** What looks like a steering; the server checks the rest. */
function checked(read: unknown): Steering {
  const { edits = [], scopes = [] } = read as Steering;
  const isFeature = (edit: { feature?: { index?: unknown } }) => Number.isInteger(edit.feature?.index ?? 0);
  if (!Array.isArray(edits) || !Array.isArray(scopes) || !edits.every(isFeature))
    throw new TypeError("no steering");
  return read as Steering;
}
