/** The strip below a window: what its connection runs over, where it stands, what came; and the knife. */
import { h, setText } from "../client/bell/dom.ts";
import { button, glyph, type Kept, keyed } from "./elements.ts";
import type { Line } from "./log.ts";
import type { Tab } from "./people.ts";
import type { Session } from "./session.ts";

export function strip(session: Session): Tab {
  const state = h("span", { class: "state", role: "status" });
  const way = h("span", { class: "fact" });
  const cursor = h("span", { class: "fact" });
  const cutLabel = h("span");
  const cut = button("tool", toggle, glyph("cut"), cutLabel);
  const swapLabel = h("span");
  const swap = button("tool", () => session.switchTo(other()), glyph("swap"), swapLabel);
  const lines = h("ol", { class: "lines", tabindex: "0", "aria-label": "Frames, newest last" });
  const head = h("div", { class: "strip-head" }, state, way, cursor, h("span", { class: "tools" }, cut, swap));
  const element = h("div", { class: "strip" }, head, lines);
  const drawLines = keyed<Line>(lines, ({ key }) => key, lineView);

  function other(): "websocket" | "sse" {
    return session.way() === "websocket" ? "sse" : "websocket";
  }

  function toggle(): void {
    const { line, log } = session;
    if (line.isCut()) {
      log.note(`the line is back: on from ${session.client().getSnapshot().cursor}`);
      line.mend();
    } else {
      line.cut();
      log.note("the line is cut: what happens now is missed");
    }
  }

  function draw(): void {
    const { connected, cursor: at, failure } = session.client().getSnapshot();
    const isCut = session.line.isCut();
    const words = isCut ? "Cut" : connected ? "Live" : failure ? `Refused (${failure})` : "Connecting…";
    setText(state, words);
    state.dataset.state = isCut || failure ? "down" : connected ? "live" : "wait";
    setText(way, session.way() === "sse" ? "SSE" : "WebSocket");
    setText(cursor, `cursor ${at ?? "–"}`);
    setText(cutLabel, isCut ? "Reconnect" : "Cut");
    cut.setAttribute("aria-pressed", `${isCut}`);
    setText(swapLabel, other() === "sse" ? "Use SSE" : "Use WebSocket");
    swap.disabled = isCut;
    const atEnd = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 40;
    drawLines(session.log.lines());
    if (atEnd) lines.scrollTop = lines.scrollHeight;
  }

  return { element, draw };
}

function lineView({ at, kind, id, type, text, replayed }: Line): Kept<Line> {
  const time = at.toTimeString().slice(0, 8);
  const element = h(
    "li",
    { class: replayed ? `line ${kind} replayed` : `line ${kind}` },
    h("time", { datetime: at.toISOString() }, time),
    h("span", { class: "id" }, id === undefined ? "" : `${id}`),
    h("span", { class: "type" }, type),
    h("span", { class: "text", title: text }, text),
    ...(replayed ? [h("span", { class: "mark" }, "replayed")] : []),
  );
  return { element, update: () => {} };
}
