/** A window over the page: the browser keeps the focus in it and closes it with Escape. */

import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { Icon } from "./icon";

interface Props {
  title: string;
  close: () => void;
  children: ComponentChildren;
}

export function Dialog({ title, close, children }: Props) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => element.current?.showModal(), []);
  const outside = (event: MouseEvent) => event.target === element.current && close();
  return (
    <dialog ref={element} class="dialog" aria-labelledby={id} onClose={close} onMouseDown={outside}>
      <div class="dialog-body">
        <header class="row between">
          <h2 id={id}>{title}</h2>
          <button type="button" class="ghost square" aria-label="Close" onClick={close}>
            <Icon name="close" />
          </button>
        </header>
        {children}
      </div>
    </dialog>
  );
}
