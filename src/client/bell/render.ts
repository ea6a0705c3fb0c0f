/**
 * From a snapshot to the view: what is new stands first and keeps its place while the panel is open, so that nothing
 * jumps away under a finger when it is read. Elements are kept by id and moved only where the order changed.
 */
import type { Notification } from "../../protocol/frames.ts";
import type { Snapshot } from "../snapshot.ts";
import { setAll, setText } from "./dom.ts";
import { type ItemActions, type ItemView, itemView } from "./item.ts";
import type { Labels } from "./text.ts";
import type { View } from "./view.ts";

export interface Renderer {
  render(snapshot: Snapshot, labels: Labels): void;
  /** The panel was opened or closed: what was read meanwhile takes its place among the earlier ones. */
  settle(): void;
}

export function renderer(view: View, actions: ItemActions): Renderer {
  const items = new Map<number, ItemView>();
  let pinned = new Set<number>();

  function fill(list: HTMLUListElement, wanted: readonly Notification[], labels: Labels, now: number): void {
    let before: Element | null = list.firstElementChild;
    for (const item of wanted) {
      const known = items.get(item.id) ?? itemView(item, actions);
      items.set(item.id, known);
      known.update(item, labels, now);
      if (known.element === before) before = before.nextElementSibling;
      else list.insertBefore(known.element, before);
    }
  }

  function lists(snapshot: Snapshot, labels: Labels): void {
    const now = Date.now();
    const wanted = new Set(snapshot.notifications.map((item) => item.id));
    for (const [id, { element }] of items) {
      if (wanted.has(id)) continue;
      element.remove();
      items.delete(id);
    }
    for (const item of snapshot.notifications) if (!item.is_read) pinned.add(item.id);
    const fresh = snapshot.notifications.filter((item) => pinned.has(item.id));
    const earlier = snapshot.notifications.filter((item) => !pinned.has(item.id));
    fill(view.fresh, fresh, labels, now);
    fill(view.earlier, earlier, labels, now);
    view.freshHeading.hidden = view.fresh.hidden = !fresh.length;
    view.earlierHeading.hidden = view.earlier.hidden = !earlier.length;
    view.empty.hidden = snapshot.notifications.length > 0;
  }

  function words(snapshot: Snapshot, labels: Labels): void {
    setText(view.heading, labels.title);
    setText(view.freshHeading, labels.fresh);
    setText(view.earlierHeading, labels.earlier);
    setText(view.markAllText, labels.markAll);
    setText(view.older, labels.older);
    setText(view.retry, labels.retry);
    const loading = !snapshot.inbox && snapshot.state !== "failed";
    setText(view.emptyTitle, loading ? labels.loading : labels.emptyTitle);
    setText(view.emptyText, loading ? "" : labels.emptyText);
    view.empty.classList.toggle("loading", loading);
  }

  function trouble({ state, failure, inbox }: Snapshot, labels: Labels): void {
    const text =
      state === "failed"
        ? failure === 4401
          ? labels.signedOut
          : labels.failed
        : state === "paused"
          ? labels.offline
          : inbox && state === "waiting"
            ? labels.connecting
            : "";
    setText(view.noticeText, text);
    view.notice.hidden = !text;
    view.retry.hidden = !["failed", "paused", "waiting"].includes(state);
  }

  function render(snapshot: Snapshot, labels: Labels): void {
    const { unreadCount, connected } = snapshot;
    setText(view.badge, unreadCount > 99 ? "99+" : `${unreadCount || ""}`);
    view.badge.hidden = unreadCount === 0;
    const spoken = unreadCount ? `${labels.title}, ${labels.unread(unreadCount)}` : labels.title;
    setAll(view.trigger, { "aria-label": spoken, title: labels.title });
    setText(view.status, connected ? labels.live : "");
    view.status.classList.toggle("on", connected);
    view.markAll.disabled = unreadCount === 0;
    view.older.hidden = !snapshot.hasMore;
    words(snapshot, labels);
    trouble(snapshot, labels);
    lists(snapshot, labels);
  }

  return {
    render,
    settle: () => {
      pinned = new Set();
    },
  };
}
