/** Features that were read, by SAE and index, and how they are read. */

import { signal } from "@preact/signals";

import { api, call } from "../api/client";
import type { Catalog, Feature, FeatureKey } from "../api/types";
import { saeId } from "./session";

/** The most that one call asks for. */
const BATCH = 500;

const known = signal<ReadonlyMap<string, Feature>>(new Map());
const asked = new Set<string>();

export const name = (key: FeatureKey) => `${key.sae || saeId()}/${key.index ?? 0}`;

/** What is known of a feature; undefined where it was not read. */
export const featureOf = (key: FeatureKey) => known.value.get(name(key));

/** What to call a feature: its label, or its number. */
export function labelOf(key: FeatureKey): string {
  return featureOf(key)?.label || `Feature ${key.index ?? 0}`;
}

/** Whether the label fell in a test, and what it was. */
export function readLabel(label: string): { text: string; refuted: boolean } {
  const refuted = label.startsWith("unlabelled: ");
  return { text: refuted ? label.slice("unlabelled: ".length) : label, refuted };
}

export function remember(features: readonly Feature[]): void {
  const next = new Map(known.value);
  for (const feature of features) {
    if (!feature.key || !feature.etag) continue;
    const before = next.get(name(feature.key));
    next.set(name(feature.key), before?.etag === feature.etag ? { ...before, ...feature } : feature);
  }
  known.value = next;
}

/** Reads those that are not known yet, without examples. Labels are a help: a failure costs them alone. */
export async function need(keys: readonly FeatureKey[]): Promise<void> {
  const missing = keys.filter((key) => !known.value.has(name(key)) && !asked.has(name(key)));
  for (let start = 0; start < missing.length; start += BATCH) {
    const batch = missing
      .slice(start, start + BATCH)
      .map((key) => ({ sae: key.sae || saeId(), index: key.index ?? 0 }));
    batch.forEach((key) => asked.add(name(key)));
    try {
      const body = { keys: batch, allowMissing: true };
      remember((await call(api.POST("/hearth/v1/features/batch-get", { body }))).features ?? []);
    } catch {
      batch.forEach((key) => asked.delete(name(key)));
    }
  }
}

export const needIndices = (indices: readonly number[]) =>
  need(indices.map((index) => ({ sae: saeId(), index })));

/** A feature with all that is known of it. */
export async function readWhole(key: FeatureKey): Promise<Feature> {
  const query = { sae: key.sae || saeId(), index: key.index ?? 0 };
  const { feature } = await call(api.GET("/hearth/v1/features/by-index", { params: { query } }));
  remember([feature!]);
  return feature!;
}

/** The edges of the histograms' bins, in units of each feature's scale. */
export async function histogramEdges(sae: string): Promise<number[]> {
  catalogs ??= call(api.GET("/hearth/v1/catalogs")).then((answer) => answer.catalogs);
  catalogs.catch(() => (catalogs = null));
  return (await catalogs).find((catalog) => catalog.sae === sae)?.histogramEdges ?? [];
}

let catalogs: Promise<Catalog[]> | null = null;
