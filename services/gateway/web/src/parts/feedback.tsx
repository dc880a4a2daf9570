/** What stands where there is nothing yet, nothing at all, or an error. */

import type { ComponentChildren } from "preact";

import { dismiss, toasts } from "../state/toasts";
import { Icon } from "./icon";

export const Empty = ({ title, children }: { title: string; children?: ComponentChildren }) => (
  <div class="empty">
    <h3>{title}</h3>
    {children}
  </div>
);

export const Loading = ({ lines = 3, what }: { lines?: number; what: string }) => (
  <div class="skeleton" role="status" aria-label={what}>
    {Array.from({ length: lines }, (_, i) => (
      <span key={i} />
    ))}
  </div>
);

export const Problem = ({ text, retry }: { text: string; retry?: () => void }) =>
  text ? (
    <div class="problem" role="alert">
      <Icon name="alert" />
      <span>{text}</span>
      {retry && (
        <button type="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  ) : null;

export const Toasts = () => (
  <div class="toasts" role="status">
    {toasts.value.map(({ id, text, action }) => (
      <div class="toast" key={id}>
        <span>{text}</span>
        {action && (
          <button
            type="button"
            class="link"
            onClick={() => {
              action.run();
              dismiss(id);
            }}
          >
            {action.label}
          </button>
        )}
        <button type="button" class="ghost square" aria-label="Dismiss" onClick={() => dismiss(id)}>
          <Icon name="close" />
        </button>
      </div>
    ))}
  </div>
);
