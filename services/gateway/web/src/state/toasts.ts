/** Short messages that go away by themselves. */

import { signal } from "@preact/signals";

export interface Action {
  label: string;
  run: () => void;
}

export interface Toast {
  id: number;
  text: string;
  action?: Action;
}

export const toasts = signal<Toast[]>([]);
let last = 0;

export function toast(text: string, action?: Action): void {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-2), { id, text, action }];
  window.setTimeout(() => dismiss(id), action ? 8_000 : 4_000);
}

export const dismiss = (id: number) => (toasts.value = toasts.value.filter((each) => each.id !== id));
