/**
 * The bell's elements, made once: the button with its badge, the panel, and the region that speaks to screen readers.
 * Holds no state of its own; render.ts fills it, element.ts listens.
 */
import { h, icon } from "./dom.ts";
import { BELL, CHECKS } from "./icons.ts";
import { button } from "./item.ts";

export interface View {
  trigger: HTMLButtonElement;
  badge: HTMLElement;
  panel: HTMLElement;
  heading: HTMLElement;
  status: HTMLElement;
  markAll: HTMLButtonElement;
  markAllText: HTMLElement;
  scroll: HTMLElement;
  freshHeading: HTMLElement;
  fresh: HTMLUListElement;
  earlierHeading: HTMLElement;
  earlier: HTMLUListElement;
  older: HTMLButtonElement;
  empty: HTMLElement;
  emptyTitle: HTMLElement;
  emptyText: HTMLElement;
  notice: HTMLElement;
  noticeText: HTMLElement;
  retry: HTMLButtonElement;
  live: HTMLElement;
  roots: HTMLElement[];
}

export function view(): View {
  const badge = h("span", { class: "badge", part: "badge", "aria-hidden": "true", hidden: true });
  const trigger = button("trigger", icon(...BELL), badge);
  trigger.setAttribute("part", "button");
  const heading = h("h2", { id: "heading", tabindex: "-1" });
  const status = h("span", { class: "status" });
  const markAllText = h("span");
  const markAll = button("mark-all", icon(...CHECKS), markAllText);
  const freshHeading = h("h3", { id: "fresh" });
  const fresh = h("ul", { role: "list", "aria-labelledby": "fresh" });
  const earlierHeading = h("h3", { id: "earlier" });
  const earlier = h("ul", { role: "list", "aria-labelledby": "earlier" });
  const older = button("older");
  const emptyTitle = h("p", { class: "empty-title" });
  const emptyText = h("p", { class: "empty-text" });
  const empty = h(
    "div",
    { class: "empty" },
    h("span", { class: "figure accent" }, icon(...BELL)),
    emptyTitle,
    emptyText,
  );
  const scroll = h("div", { class: "scroll" }, freshHeading, fresh, earlierHeading, earlier, older, empty);
  const noticeText = h("span");
  const retry = button("retry");
  const notice = h("div", { class: "notice", hidden: true }, noticeText, retry);
  const header = h("header", {}, heading, status, markAll);
  const panel = h(
    "div",
    { class: "panel", part: "panel", id: "panel", role: "dialog", "aria-labelledby": "heading", hidden: true },
    header,
    notice,
    scroll,
  );
  const live = h("div", { class: "hidden", role: "status", "aria-live": "polite" });
  for (const [name, value] of [
    ["aria-haspopup", "dialog"],
    ["aria-controls", "panel"],
    ["aria-expanded", "false"],
  ] as const) {
    trigger.setAttribute(name, value);
  }
  return {
    ...{ trigger, badge, panel, heading, status, markAll, markAllText, scroll, freshHeading, fresh, earlierHeading },
    ...{ earlier, older, empty, emptyTitle, emptyText, notice, noticeText, retry, live },
    roots: [trigger, panel, live],
  };
}
