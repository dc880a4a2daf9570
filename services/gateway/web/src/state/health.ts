/** Whether the platform answers, and coming back by itself when it does not. */

import { signal } from "@preact/signals";

import { api } from "../api/client";
import type { Readiness } from "../api/gateway";

const CALM_MS = 15_000;
const FIRST_MS = 1_000;
const LONGEST_MS = 8_000;

export interface Outage {
  /** The services that do not answer; empty where the gateway itself does not. */
  services: string[];
  /** When the page asks again, in ms since the epoch. */
  again: number;
}

export const outage = signal<Outage | null>(null);
/** Counts how often the platform came back. */
export const recoveries = signal(0);

let timer = 0;
let wait = FIRST_MS;
let asking: Promise<void> | null = null;

/** Asks now, and goes on asking: calmly while all is well, more and more rarely while it is not. */
export function watch(): Promise<void> {
  asking ??= ask().finally(() => (asking = null));
  return asking;
}

/** A call failed in a way that makes one ask at once. */
export function suspect(): void {
  if (outage.value === null) void watch();
}

async function ask(): Promise<void> {
  clearTimeout(timer);
  const silent = await silentServices();
  if (silent === null) {
    const was = outage.value;
    outage.value = null;
    wait = FIRST_MS;
    if (was) recoveries.value += 1;
    timer = window.setTimeout(watch, CALM_MS);
    return;
  }
  outage.value = { services: silent, again: Date.now() + wait };
  timer = window.setTimeout(watch, wait);
  wait = Math.min(wait * 1.6, LONGEST_MS);
}

/** Null where all is well. */
async function silentServices(): Promise<string[] | null> {
  try {
    const { data, error, response } = await api.GET("/readyz", { signal: AbortSignal.timeout(5_000) });
    return response.ok ? null : namesOf((data ?? error) as Readiness | undefined);
  } catch {
    return [];
  }
}

function namesOf(readiness: Readiness | undefined): string[] {
  return Object.entries(readiness?.serving ?? {})
    .filter(([, serves]) => !serves)
    .map(([name]) => name);
}
