/**
 * The store: one snapshot, whoever changes it, and those who want to hear. Made for `useSyncExternalStore`: the snapshot
 * is the same object between changes, and listeners hear after it changed.
 */
import type { Frame, Notification, NotificationUpdate, ReadyData, UnreadCount } from "../protocol/frames.ts";
import { arrive, EMPTY, recount, type Snapshot, update } from "./snapshot.ts";
import type { AnyFrame } from "./transport.ts";

export interface Store {
  getSnapshot(): Snapshot;
  /** Hears of every change until the returned function is called. */
  subscribe(listener: () => void): () => void;
  /** Changes the snapshot; the same object back means nothing changed. */
  change(how: (at: Snapshot) => Snapshot): void;
  /** Goes up whenever the server said a count: what was guessed before that is settled. */
  counted(): number;
  /** Takes in a frame, undefined where it was a double, and where the sequence stands after it. */
  receive(frame: AnyFrame | undefined, cursor: number | undefined): void;
  clear(): void;
}

export function store(): Store {
  const listeners = new Set<() => void>();
  let at = EMPTY;
  let counted = 0;

  function change(how: (at: Snapshot) => Snapshot): void {
    const next = how(at);
    if (next === at) return;
    at = next;
    for (const listener of [...listeners]) listener();
  }

  function taken(frame: AnyFrame | undefined): Snapshot {
    if (!frame) return at;
    const { type, data } = frame as Extract<Frame, { data: unknown }>;
    if (type === "notification") {
      // Archived stands on the frame of a replay, or in the notification itself.
      const archived = (frame as { archived?: true }).archived && { archived: true as const };
      return arrive(at, { ...(data as Notification), ...archived });
    }
    if (type === "notification_update") return update(at, data as NotificationUpdate);
    if (type === "unread_count") {
      counted++;
      return recount(at, data as UnreadCount);
    }
    if (type !== "ready") return at;
    const { user_id, unread_count, resume } = data as ReadyData;
    const known = at.inbox || resume !== "live" ? {} : { unreadCount: unread_count };
    return { ...at, userId: user_id, ...known };
  }

  return {
    getSnapshot: () => at,
    subscribe: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    change,
    counted: () => counted,
    receive: (frame, cursor) => change(() => placed(taken(frame), cursor)),
    clear: () => listeners.clear(),
  };
}

const placed = (at: Snapshot, cursor: number | null = null): Snapshot =>
  at.cursor === cursor ? at : { ...at, cursor };
