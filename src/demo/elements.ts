/** The page's small parts: buttons, avatars, fields, and lists that keep their elements (and so the focus) by key. */
import { h, icon } from "../client/bell/dom.ts";
import type { UserRef } from "../client/index.ts";
import { shown } from "./describe.ts";

export type IconName = "people" | "chat" | "tasks" | "check" | "send" | "cut" | "mend" | "swap";

const ICONS: Readonly<Record<IconName, readonly string[]>> = {
  people: [
    "M9.5 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7Z",
    "M3 19.5c.4-3.3 3-5.5 6.5-5.5s6.1 2.2 6.5 5.5",
    "M16 4.7a3.5 3.5 0 0 1 0 6.6",
    "M18 14.3c1.8.9 2.9 2.7 3.1 5.2",
  ],
  chat: [
    "M20.5 11.5a8 8 0 0 1-8.3 7.7c-1.3 0-2.5-.3-3.6-.7L4 20l1.3-4a7.3 7.3 0 0 1-1.3-4.5A8 8 0 0 1 12.2 4a8 8 0 0 1 8.3 7.5Z",
  ],
  tasks: [
    "M9 4.5H7A1.5 1.5 0 0 0 5.5 6v13A1.5 1.5 0 0 0 7 20.5h10a1.5 1.5 0 0 0 1.5-1.5V6A1.5 1.5 0 0 0 17 4.5h-2",
    "M9.5 3h5v3h-5z",
    "m9 13.5 2 2 4-4.5",
  ],
  check: ["m5 12.5 4.5 4.5L19 7.5"],
  send: ["M4.5 12h14", "m13 6 6 6-6 6"],
  cut: [
    "M6 9a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
    "M6 20a2.5 2.5 0 1 0 0-5 2.5 2.5 0 0 0 0 5Z",
    "M8 8 20 19",
    "M8 16 20 5",
  ],
  mend: ["M20 11a8 8 0 0 0-14.5-3.5L4 9.5", "M4 4.5v5h5", "M4 13a8 8 0 0 0 14.5 3.5l1.5-2", "M20 19.5v-5h-5"],
  swap: ["M4 8.5h15", "m15.5 5 3.5 3.5-3.5 3.5", "M20 15.5H5", "M8.5 12 5 15.5 8.5 19"],
};

export const glyph = (name: IconName): SVGSVGElement => icon(...ICONS[name]);

/** A button that submits nothing. */
export function button(classes: string, onClick: () => void, ...children: (Node | string)[]): HTMLButtonElement {
  const element = h("button", { type: "button", class: classes }, ...children);
  element.addEventListener("click", onClick);
  return element;
}

/** A round letter in the user's own colour; with `status`, a dot beside it. */
export function avatar(user: UserRef, status?: "online" | "offline"): HTMLElement {
  const tint = `tint-${(Number(user.id) || 0) % 6}`;
  const dot = status ? [h("span", { class: `dot ${status}` })] : [];
  return h("span", { class: `avatar ${tint}`, "aria-hidden": "true" }, shown(user).charAt(0), ...dot);
}

/** A labelled select; the label is for screen readers. */
export function select(label: string, options: readonly (readonly [string, string])[]): HTMLSelectElement {
  const element = h("select", { "aria-label": label, class: "field" });
  fill(element, options);
  return element;
}

/** Puts options into a select and keeps what is chosen, where it is still there. */
export function fill(element: HTMLSelectElement, options: readonly (readonly [string, string])[]): void {
  const wanted = JSON.stringify(options);
  if (element.dataset.options === wanted) return;
  const isFirst = element.dataset.options === undefined;
  element.dataset.options = wanted;
  const { value } = element;
  element.replaceChildren(...options.map(([key, text]) => h("option", { value: key }, text)));
  if (!isFirst && options.some(([key]) => key === value)) element.value = value;
}

export interface Kept<T> {
  readonly element: HTMLElement;
  update(item: T): void;
}

/** Fills `parent` with an element for each item; an element stays while its key does, and moves only where the order changed. */
export function keyed<T>(
  parent: HTMLElement,
  key: (item: T) => string | number,
  make: (item: T) => Kept<T>,
): (items: readonly T[]) => void {
  let known = new Map<string | number, Kept<T>>();
  return (items) => {
    const next = new Map(items.map((item) => [key(item), known.get(key(item)) ?? make(item)]));
    for (const [at, { element }] of known) if (!next.has(at)) element.remove();
    known = next;
    let before = parent.firstElementChild;
    for (const item of items) {
      const kept = next.get(key(item))!;
      kept.update(item);
      if (kept.element === before) before = before.nextElementSibling;
      else parent.insertBefore(kept.element, before);
    }
  };
}

/** A row that is drawn anew only when what it shows has changed. */
export function row<T>(classes: string, draw: (item: T) => readonly (Node | string)[]): (item: T) => Kept<T> {
  return () => {
    const element = h("li", { class: classes });
    let drawn = "";
    return {
      element,
      update: (item) => {
        const text = JSON.stringify(item);
        if (text === drawn) return;
        drawn = text;
        element.replaceChildren(...draw(item));
      },
    };
  };
}

/** What stands where a list is empty. */
export const empty = (title: string, text: string): HTMLElement =>
  h("div", { class: "empty" }, h("p", { class: "empty-title" }, title), h("p", {}, text));
