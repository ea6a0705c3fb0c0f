/** Tabs by the book: arrows move, the panel is labelled, one tab stop for all of them [ARIA APG, tabs]. */
import { h, setText } from "../client/bell/dom.ts";
import { button, glyph, type IconName } from "./elements.ts";

export interface TabPage {
  readonly name: string;
  readonly label: string;
  readonly icon: IconName;
  readonly element: HTMLElement;
}

export interface Tabs {
  readonly bar: HTMLElement;
  readonly panels: readonly HTMLElement[];
  open(name: string): void;
  /** What waits behind a tab; 0 shows nothing. */
  badge(name: string, count: number): void;
}

/** @param id makes the ids of this window's elements its own */
export function tabs(id: string, pages: readonly TabPage[], onOpen: (name: string) => void): Tabs {
  const badges = pages.map(() => h("span", { class: "badge", hidden: true }));
  const buttons = pages.map(({ name, label, icon }, at) => {
    const element = button("tab", () => open(name), glyph(icon), label, badges[at]!);
    element.id = `${id}-${name}`;
    element.setAttribute("role", "tab");
    element.setAttribute("aria-controls", `${id}-${name}-panel`);
    return element;
  });
  const panels = pages.map(({ name, element }) =>
    h(
      "div",
      { class: "panel", role: "tabpanel", id: `${id}-${name}-panel`, "aria-labelledby": `${id}-${name}` },
      element,
    ),
  );
  const bar = h("div", { class: "tabs", role: "tablist", "aria-label": "Parts of this window" }, ...buttons);
  bar.addEventListener("keydown", (event) => {
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    const next = buttons.at(to % buttons.length)!;
    event.preventDefault();
    next.click();
    next.focus();
  });

  function open(name: string): void {
    for (const [at, page] of pages.entries()) {
      const isOpen = page.name === name;
      buttons[at]!.setAttribute("aria-selected", `${isOpen}`);
      buttons[at]!.tabIndex = isOpen ? 0 : -1;
      panels[at]!.hidden = !isOpen;
    }
    onOpen(name);
  }

  function badge(name: string, count: number): void {
    const element = badges[pages.findIndex((page) => page.name === name)]!;
    setText(element, count ? `${count}` : "");
    element.hidden = !count;
  }

  return { bar, panels, open, badge };
}
