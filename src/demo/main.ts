/**
 * The page at `/`: two windows of one small application side by side, each with a user and a connection of its own, so
 * that one sees what a write in one does in the other. On a narrow screen one window is shown at a time; both stay live.
 */
import "../client/bell/index.ts";
import { h, icon, setText } from "../client/bell/dom.ts";
import { BELL } from "../client/bell/icons.ts";
import type { UserRef } from "../client/index.ts";
import { shown } from "./describe.ts";
import { button } from "./elements.ts";
import { pane } from "./pane.ts";
import { strangers } from "./people.ts";

const panes = [pane("one"), pane("two")];
const switches = panes.map((_, at) => switchTo(at));

function switchTo(at: number): { element: HTMLElement; say(user: UserRef | null, unread: number): void } {
  const name = h("span");
  const badge = h("span", { class: "badge", hidden: true });
  return {
    element: button("switch", () => show(at), name, badge),
    say: (user, unread) => {
      setText(name, user ? shown(user) : "Nobody");
      setText(badge, unread ? `${unread}` : "");
      badge.hidden = !unread;
    },
  };
}

function show(at: number): void {
  for (const [other, { element }] of switches.entries()) element.setAttribute("aria-pressed", `${other === at}`);
  for (const [other, { element }] of panes.entries()) element.classList.toggle("behind", other !== at);
}

const links = [
  ["docs", "API"],
  ["status", "Status"],
] as const;

document.body.append(
  h(
    "header",
    { class: "top" },
    h("h1", {}, h("span", { class: "logo" }, icon(...BELL)), "Tidings"),
    h("p", {}, "Two people, two connections, one Postgres. Write in one window and watch it arrive in the other."),
    h("nav", { "aria-label": "More" }, ...links.map(([href, label]) => h("a", { href }, label))),
  ),
  h(
    "main",
    {},
    h("div", { class: "switches", role: "group", "aria-label": "Windows" }, ...switches.map(({ element }) => element)),
    h("div", { class: "panes" }, ...panes.map(({ element }) => element)),
  ),
);
show(0);
for (const [at, each] of panes.entries()) {
  each.onChange(switches[at]!.say);
  each.enter(strangers()[at] ?? null);
}
