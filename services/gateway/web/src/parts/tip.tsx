/** Words that explain themselves: on hover, on focus and to screen readers. */

import { useEffect, useRef, useState } from "preact/hooks";

/** A term of the field with a dotted line and an explanation. */
export const Term = ({ children, tip }: { children: preact.ComponentChildren; tip: string }) => (
  <span class="term" tabindex={0} data-tip={tip} aria-description={tip}>
    {children}
  </span>
);

interface Place {
  text: string;
  x: number;
  y: number;
  above: boolean;
}

/** The one tooltip of the page: shows `data-tip` of what is pointed at or has the focus. */
export function Tips() {
  const [place, setPlace] = useState<Place | null>(null);
  const box = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const find = (event: Event) => (event.target as Element | null)?.closest?.<HTMLElement>("[data-tip]");
    const enter = (event: Event) => {
      const target = find(event);
      const text = target?.dataset.tip;
      if (!target || !text) return setPlace(null);
      const at = target.getClientRects()[0] ?? target.getBoundingClientRect();
      const above = at.top > innerHeight / 2;
      setPlace({ text, x: at.left + at.width / 2, y: above ? at.top - 8 : at.bottom + 8, above });
    };
    const leave = () => setPlace(null);
    const escape = (event: KeyboardEvent) => event.key === "Escape" && setPlace(null);
    const listeners = [
      ["mouseover", enter],
      ["focusin", enter],
      ["focusout", leave],
      ["click", leave],
      ["scroll", leave],
      ["keydown", escape],
    ] as [string, (event: Event) => void][];
    listeners.forEach(([name, listener]) => document.addEventListener(name, listener, true));
    return () => listeners.forEach(([name, listener]) => document.removeEventListener(name, listener, true));
  }, []);

  useEffect(() => {
    const element = box.current;
    if (!element || !place) return;
    const half = element.offsetWidth / 2 + 8;
    const x = Math.min(Math.max(place.x, half), innerWidth - half);
    element.style.left = `${x - element.offsetWidth / 2}px`;
    element.style.top = `${place.above ? place.y - element.offsetHeight : place.y}px`;
    element.showPopover?.();
  }, [place]);

  return (
    place && (
      <div class="tip" ref={box} popover="manual" role="tooltip">
        {place.text}
      </div>
    )
  );
}
