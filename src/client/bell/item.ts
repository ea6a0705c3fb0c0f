/**
 * One notification in the panel: what it says, where it leads, and what can be done with it. The element is made once and
 * kept up to date, so that focus and screen readers are not disturbed by changes elsewhere.
 */
import type { Notification } from "../../protocol/frames.ts";
import { h, icon, safeUrl, setAll, setText } from "./dom.ts";
import { CHECK, CROSS, DOT, kindOf } from "./icons.ts";
import { ago, type Labels } from "./text.ts";

export interface ItemActions {
  open(item: Notification, event: MouseEvent): void;
  toggle(item: Notification): void;
  remove(item: Notification): void;
}

export interface ItemView {
  element: HTMLLIElement;
  update(item: Notification, labels: Labels, now: number): void;
}

export function itemView(first: Notification, actions: ItemActions): ItemView {
  let item = first;
  const href = safeUrl(item.url);
  const title = h("span", { class: "item-title" });
  const message = h("span", { class: "item-message" });
  const time = h("time", { class: "item-time" });
  const state = h("span", { class: "hidden" });
  const body = h("span", { class: "item-body" }, title, message, time, state);
  const main = href
    ? h("a", { class: "item-main", href }, figure(first), body)
    : button("item-main", figure(first), body);
  const toggle = button("item-action");
  const remove = button("item-action", icon(...CROSS));
  const element = h("li", { class: "item" }, main, h("span", { class: "item-actions" }, toggle, remove));

  main.addEventListener("click", (event) => actions.open(item, event as MouseEvent));
  toggle.addEventListener("click", () => actions.toggle(item));
  remove.addEventListener("click", () => actions.remove(item));

  function update(next: Notification, labels: Labels, now: number): void {
    item = next;
    element.classList.toggle("unread", !item.is_read);
    setText(title, `${item.title || item.message || item.notification_type}`);
    setText(message, item.title ? `${item.message ?? ""}` : "");
    setText(time, ago(item.created_at, now));
    setAll(time, { datetime: item.created_at });
    setText(state, item.is_read ? "" : `, ${labels.fresh}`);
    const verb = item.is_read ? labels.markUnread : labels.markRead;
    if (toggle.title !== verb) toggle.replaceChildren(icon(...(item.is_read ? DOT : CHECK)));
    setAll(toggle, { title: verb, "aria-label": `${verb}: ${item.title}` });
    setAll(remove, { title: labels.remove, "aria-label": `${labels.remove}: ${item.title}` });
  }

  return { element, update };
}

/** A picture when the producer gave one, else the icon of the type. */
function figure(item: Notification): HTMLElement {
  const { paths, tint } = kindOf(item.notification_type);
  const frame = h("span", { class: `figure ${tint}` }, icon(...paths));
  const src = safeUrl(item.image);
  if (src) {
    const image = h("img", { src, alt: "", loading: "lazy", referrerpolicy: "no-referrer" });
    // A picture that does not come leaves the icon.
    image.addEventListener("error", () => image.remove());
    frame.append(image);
  }
  return frame;
}

/** A button that submits nothing. */
export function button(classes: string, ...children: (Node | string)[]): HTMLButtonElement {
  return h("button", { type: "button", class: classes }, ...children);
}
